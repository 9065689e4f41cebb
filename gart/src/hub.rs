//! A hub: the registers through which a driver sets up translation, and what hangs off them.

use bitfield_struct::bitfield;
use mmio::{Effects, RegOffset, RegisterBlock, RegisterFile};

use crate::fault::interrupt_enabled;
use crate::registers as reg;
use crate::{
    Access, AddressSpace, Apertures, ClientId, Context, ContextCntl, Fault, FaultInterrupt, FaultStatus,
    GpuVa, HubLayout, Pde, PhysicalMemory, TableSummary, Translation, VisitedEntry, Vmid, WalkBudget,
    walk_tables,
};

/// The two hubs of a Navi2x part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HubId {
    /// GFXHUB: command processors, shaders, SDMA.
    Gfx,
    /// MMHUB: interrupt handler, PSP, SMU, multimedia.
    Mm,
}

/// Where the MC address space shows VRAM after a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameBuffer {
    /// MC address of VRAM's first byte; the hardware counts in 16 MiB.
    pub base: GpuVa,
    /// Bytes of VRAM.
    pub size: u64,
}

/// GCVM_INVALIDATE_ENGn_REQ.
#[bitfield(u32)]
#[derive(PartialEq, Eq, Hash)]
pub struct InvalidateRequest {
    /// PER_VMID_INVALIDATE_REQ: one bit per context.
    pub vmids: u16,
    /// FLUSH_TYPE: 0 legacy, 1 lightweight, 2 heavyweight.
    #[bits(3)]
    pub flush_type: u8,
    /// INVALIDATE_L2_PTES.
    pub l2_ptes: bool,
    /// INVALIDATE_L2_PDE0.
    pub l2_pde0: bool,
    /// INVALIDATE_L2_PDE1.
    pub l2_pde1: bool,
    /// INVALIDATE_L2_PDE2.
    pub l2_pde2: bool,
    /// INVALIDATE_L1_PTES.
    pub l1_ptes: bool,
    /// CLEAR_PROTECTION_FAULT_STATUS_ADDR.
    pub clear_protection_fault_status_addr: bool,
    /// LOG_REQUEST. No effect here.
    pub log_request: bool,
    /// INVALIDATE_4K_PAGES_ONLY. No effect here.
    pub invalidate_4k_pages_only: bool,
    #[bits(5)]
    __: u8,
}

/// One of a hub's 18 invalidation engines. The driver keeps 17 for itself and gives the others to rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvalidationEngine(u8);

impl InvalidationEngine {
    /// How many there are.
    pub const COUNT: u8 = 18;
    /// The engine that the driver uses through MMIO and the KIQ (`gmc_v10_0_flush_gpu_tlb`).
    pub const MMIO: Self = Self(17);

    /// From a number, if there is such an engine.
    pub const fn new(number: u8) -> Option<Self> {
        if number < Self::COUNT {
            Some(Self(number))
        } else {
            None
        }
    }

    /// All engines, ascending.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// From a register's distance in bytes to engine 0's.
    const fn from_distance(bytes: u32) -> Self {
        Self((bytes >> 2 & 0x1f) as u8)
    }

    /// This engine's dword in an array that begins at `first`.
    fn register(self, first: RegOffset) -> RegOffset {
        first.plus(u32::from(self.0) << 2)
    }

    const fn bit(self) -> u32 {
        1_u32.wrapping_shl(self.0 as u32)
    }
}

/// What a register write asks of the rest of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubEffect {
    /// The driver invalidates translations. Nothing is cached in this crate: for whoever keeps translations, and for traces.
    Invalidate {
        /// Which hub.
        hub: HubId,
        /// Which engine.
        engine: InvalidationEngine,
        /// The request.
        request: InvalidateRequest,
    },
    /// A context was pointed at a root, or its registers were changed in another way, and its translations invalidated: this is the
    /// address space that its next accesses use. An invalidation without either since the last one does not tell it again. A root that
    /// is written counts also if it is the one that was there: the memory may have become the root of another address space since.
    ContextSet {
        /// Which hub.
        hub: HubId,
        /// Which context.
        vmid: Vmid,
        /// What it is now: enabled, with a valid root.
        context: Context,
    },
    /// A context went from enabled to disabled. Engines that wait on memory in it must give up: the tables are gone.
    ContextDisabled {
        /// Which hub.
        hub: HubId,
        /// Which context.
        vmid: Vmid,
    },
}

/// A hub's registers and state.
#[derive(Debug, Clone)]
pub struct Hub {
    id: HubId,
    frame_buffer: FrameBuffer,
    l2: RegisterFile,
    mc: RegisterFile,
    extra: RegisterFile,
    space: AddressSpace,
    /// One bit per engine: its semaphore is taken.
    taken: u32,
    /// One bit per engine: acknowledges are withheld.
    held: u32,
    /// ACK bits that wait for release, by engine.
    withheld: [u16; InvalidationEngine::COUNT as usize],
    /// One bit per context: its root was written, or its registers were changed, since its last invalidation.
    set: u16,
}

impl Hub {
    /// A hub after power-on.
    pub fn new(layout: HubLayout, frame_buffer: FrameBuffer) -> Self {
        let disabled = Context::new(ContextCntl::new(), Pde::new(), 0, 0);
        let mut hub = Self {
            id: layout.id,
            frame_buffer,
            l2: RegisterFile::new(layout.prefix(), layout.l2_base, reg::L2),
            mc: RegisterFile::new(layout.prefix(), layout.mc_base, reg::MC),
            extra: RegisterFile::new(layout.prefix(), layout.l2_base, layout.extra),
            space: AddressSpace {
                apertures: Apertures::default(),
                contexts: [disabled; Vmid::COUNT],
            },
            taken: 0,
            held: 0,
            withheld: [0; InvalidationEngine::COUNT as usize],
            set: 0,
        };
        hub.reset();
        hub
    }

    /// Which hub this is.
    pub const fn id(&self) -> HubId {
        self.id
    }

    /// The registers as translation sees them.
    pub const fn space(&self) -> &AddressSpace {
        &self.space
    }

    /// One context, decoded.
    pub fn context(&self, vmid: Vmid) -> Option<&Context> {
        self.space.contexts.get(vmid.index())
    }

    /// Translates an address; see [`AddressSpace::translate`]. Records nothing.
    ///
    /// # Errors
    /// The [`Fault`], which the caller hands to [`record_fault`](Self::record_fault) if the access was real.
    #[inline]
    pub fn translate<M: PhysicalMemory + ?Sized>(
        &self,
        memory: &M,
        vmid: Vmid,
        va: GpuVa,
        access: Access,
    ) -> Result<Translation, Fault> {
        self.space.translate(memory, vmid, va, access)
    }

    /// Visits what a context maps; see [`walk_tables`].
    pub fn walk_tables<M: PhysicalMemory + ?Sized>(
        &self,
        memory: &M,
        vmid: Vmid,
        budget: WalkBudget,
        visitor: impl FnMut(&VisitedEntry),
    ) -> TableSummary {
        match self.context(vmid) {
            Some(context) => walk_tables(context, self.space.apertures.fb_offset, memory, budget, visitor),
            None => TableSummary::default(),
        }
    }

    /// Withholds the acknowledges of an engine, or gives them again: what was requested meanwhile is then acknowledged at once.
    /// The engine's semaphore and the effects of its requests are not touched.
    pub fn hold_acknowledge(&mut self, engine: InvalidationEngine, hold: bool) {
        if hold {
            self.held |= engine.bit();
            return;
        }
        self.held &= !engine.bit();
        let vmids = self
            .withheld
            .get_mut(usize::from(engine.get()))
            .map_or(0, std::mem::take);
        self.acknowledge(engine, vmids);
    }

    /// Whether any engine's acknowledges are withheld.
    pub const fn is_holding(&self) -> bool {
        self.held != 0
    }

    /// The invalidation engine whose request register this is, if it is one: whoever withholds acknowledges decides before the write.
    pub fn request_engine(&self, offset: RegOffset) -> Option<InvalidationEngine> {
        match Behaviour::of(self.l2.relative(offset)?) {
            Behaviour::Request(engine) => Some(engine),
            _ => None,
        }
    }

    fn acknowledge(&mut self, engine: InvalidationEngine, vmids: u16) {
        let ack = engine.register(reg::INVALIDATE_ACK);
        self.l2.set(ack, self.l2.get(ack) | u32::from(vmids));
    }

    /// Writes a fault into L2_PROTECTION_FAULT_STATUS and _ADDR, and says whether the context wants an interrupt.
    ///
    /// The first fault stays until the driver clears it; later ones only set MORE_FAULTS, unless
    /// ALLOW_SUBSEQUENT_PROTECTION_FAULT_STATUS_ADDR_UPDATES is set. Every enabled fault raises an interrupt of its own.
    pub fn record_fault(&mut self, fault: &Fault, client: ClientId) -> Option<FaultInterrupt> {
        let status = FaultStatus::describe(fault, client);
        let latched = FaultStatus::from_bits(self.l2.get(reg::L2_PROTECTION_FAULT_STATUS));
        let more = latched.into_bits() != 0;
        let update = reg::ALLOW_SUBSEQUENT_PROTECTION_FAULT_STATUS_ADDR_UPDATES;
        if more && self.l2.get(reg::L2_PROTECTION_FAULT_CNTL) & update == 0 {
            let status = latched.with_more_faults(true);
            self.l2.set(reg::L2_PROTECTION_FAULT_STATUS, status.into_bits());
        } else {
            let page = fault.va.canonical().get() >> 12;
            self.l2.set(
                reg::L2_PROTECTION_FAULT_STATUS,
                status.with_more_faults(more).into_bits(),
            );
            self.l2
                .set(reg::L2_PROTECTION_FAULT_ADDR_LO32, (page & 0xffff_ffff) as u32);
            self.l2
                .set(reg::L2_PROTECTION_FAULT_ADDR_HI32, (page >> 32 & 0xf) as u32);
        }
        let cntl = self.context(fault.vmid)?.cntl;
        let enabled = interrupt_enabled(cntl, fault);
        log::debug!(target: "amdgpu::gart", "{:?} hub, client {:#x}: {fault}, interrupt {enabled}", self.id, client.get());
        enabled.then_some(FaultInterrupt {
            hub: self.id,
            vmid: fault.vmid,
            va: fault.va,
            access: fault.access,
            status,
        })
    }

    fn clear_fault(&mut self) {
        for register in [
            reg::L2_PROTECTION_FAULT_STATUS,
            reg::L2_PROTECTION_FAULT_ADDR_LO32,
            reg::L2_PROTECTION_FAULT_ADDR_HI32,
        ] {
            self.l2.set(register, 0);
        }
    }

    fn invalidate(&mut self, engine: InvalidationEngine, request: InvalidateRequest) {
        let ack = engine.register(reg::INVALIDATE_ACK);
        self.l2.set(ack, self.l2.get(ack) & !u32::from(request.vmids()));
        if request.clear_protection_fault_status_addr() {
            self.clear_fault();
        }
        if self.held & engine.bit() == 0 {
            self.acknowledge(engine, request.vmids());
        } else if let Some(withheld) = self.withheld.get_mut(usize::from(engine.get())) {
            *withheld |= request.vmids();
        }
    }

    /// Decodes the context's registers anew. Returns whether this disabled it.
    fn decode_context(&mut self, vmid: Vmid) -> bool {
        let number = u32::from(vmid.get());
        let pair = |first: RegOffset| {
            let lo = first.plus(number << 3);
            self.l2.get_pair(lo, lo.plus(4))
        };
        let cntl = ContextCntl::from_bits(self.l2.get(reg::CONTEXT_CNTL.plus(number << 2)));
        let root = Pde::from_bits(pair(reg::PAGE_TABLE_BASE));
        let mut context = Context::new(cntl, root, pair(reg::PAGE_TABLE_START), pair(reg::PAGE_TABLE_END));
        context.enabled &= self.l2.get(reg::CONTEXTS_DISABLE) & 1_u32.wrapping_shl(number) == 0;
        match self.space.contexts.get_mut(vmid.index()) {
            Some(old) => {
                let disabled = old.enabled && !context.enabled;
                if *old != context {
                    self.set |= bit(vmid);
                }
                *old = context;
                disabled
            }
            None => false,
        }
    }

    fn decode_apertures(&mut self) {
        let [base, top, offset, bot, agp_top, agp_base] = [
            reg::FB_LOCATION_BASE,
            reg::FB_LOCATION_TOP,
            reg::FB_OFFSET,
            reg::AGP_BOT,
            reg::AGP_TOP,
            reg::AGP_BASE,
        ]
        .map(|register| self.mc.get(register));
        self.space.apertures = Apertures::new(base, top, offset, bot, agp_top, agp_base);
    }

    fn write_l2(&mut self, register: Behaviour, value: u32, effects: &mut Effects<HubEffect>) {
        match register {
            Behaviour::FaultCntl if value & reg::CLEAR_PROTECTION_FAULT_STATUS_ADDR != 0 => {
                self.clear_fault();
            }
            Behaviour::Context(vmid) => self.context_written(vmid, effects),
            Behaviour::Root(vmid) => {
                self.context_written(vmid, effects);
                self.set |= bit(vmid);
            }
            Behaviour::ContextsDisable => Vmid::all().for_each(|vmid| self.context_written(vmid, effects)),
            Behaviour::Semaphore(engine) if value & 1 == 0 => self.taken &= !engine.bit(),
            Behaviour::Request(engine) => {
                let request = InvalidateRequest::from_bits(value);
                self.invalidate(engine, request);
                self.tell_set(request.vmids(), effects);
                effects.push(HubEffect::Invalidate {
                    hub: self.id,
                    engine,
                    request,
                });
            }
            Behaviour::FaultCntl | Behaviour::Semaphore(_) | Behaviour::None => {}
        }
    }

    /// Announces those of the contexts that were set.
    fn tell_set(&mut self, vmids: u16, effects: &mut Effects<HubEffect>) {
        let told = self.set & vmids;
        self.set &= !told;
        if told == 0 {
            return;
        }
        for vmid in Vmid::all().filter(|vmid| told & bit(*vmid) != 0) {
            if let Some(context) = self.context(vmid)
                && context.enabled
                && context.root.valid()
            {
                effects.push(HubEffect::ContextSet {
                    hub: self.id,
                    vmid,
                    context: *context,
                });
            }
        }
    }

    fn context_written(&mut self, vmid: Vmid, effects: &mut Effects<HubEffect>) {
        if self.decode_context(vmid) {
            effects.push(HubEffect::ContextDisabled { hub: self.id, vmid });
        }
    }
}

/// A context's bit in a set of contexts.
const fn bit(vmid: Vmid) -> u16 {
    1_u16.wrapping_shl(vmid.get() as u32)
}

/// What hangs off a register of the [`L2`](reg::L2) table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    /// L2_PROTECTION_FAULT_CNTL.
    FaultCntl,
    /// PAGE_TABLE_BASE_ADDR of one context.
    Root(Vmid),
    /// Any other register of one context.
    Context(Vmid),
    /// CONTEXTS_DISABLE.
    ContextsDisable,
    /// INVALIDATE_ENGn_SEM.
    Semaphore(InvalidationEngine),
    /// INVALIDATE_ENGn_REQ.
    Request(InvalidationEngine),
    /// It only keeps its value.
    None,
}

impl Behaviour {
    fn of(relative: RegOffset) -> Self {
        let distance = |first: RegOffset| relative.byte().wrapping_sub(first.byte());
        let within = |first: RegOffset, limit: RegOffset| (first..limit).contains(&relative);
        if relative == reg::L2_PROTECTION_FAULT_CNTL {
            Self::FaultCntl
        } else if relative == reg::CONTEXTS_DISABLE {
            Self::ContextsDisable
        } else if within(reg::CONTEXT_CNTL, reg::CONTEXTS_DISABLE) {
            Self::Context(Vmid::from_field(distance(reg::CONTEXT_CNTL) >> 2))
        } else if within(reg::PAGE_TABLE_BASE, reg::PAGE_TABLE_START) {
            Self::Root(Vmid::from_field(distance(reg::PAGE_TABLE_BASE) >> 3))
        } else if within(reg::PAGE_TABLE_START, reg::PAGE_TABLE_LIMIT) {
            // Two more arrays of sixteen pairs, one behind the other.
            Self::Context(Vmid::from_field(distance(reg::PAGE_TABLE_START) >> 3))
        } else if within(reg::INVALIDATE_SEM, reg::INVALIDATE_REQ) {
            Self::Semaphore(InvalidationEngine::from_distance(distance(reg::INVALIDATE_SEM)))
        } else if within(reg::INVALIDATE_REQ, reg::INVALIDATE_ACK) {
            Self::Request(InvalidationEngine::from_distance(distance(reg::INVALIDATE_REQ)))
        } else {
            Self::None
        }
    }
}

impl RegisterBlock for Hub {
    type Effect = HubEffect;

    fn files(&self) -> Vec<&RegisterFile> {
        vec![&self.l2, &self.mc, &self.extra]
    }

    fn read(&mut self, offset: RegOffset) -> u32 {
        if let Some(relative) = self.l2.relative(offset)
            && let Behaviour::Semaphore(engine) = Behaviour::of(relative)
        {
            let free = self.taken & engine.bit() == 0;
            self.taken |= engine.bit();
            return u32::from(free);
        }
        let files = [&self.l2, &self.mc, &self.extra];
        files.into_iter().find_map(|file| file.read(offset)).unwrap_or(0)
    }

    fn write(&mut self, offset: RegOffset, value: u32, effects: &mut Effects<HubEffect>) {
        if let Some(relative) = self.l2.relative(offset) {
            self.l2.write(offset, value);
            self.write_l2(Behaviour::of(relative), value, effects);
        } else if self.mc.write(offset, value).is_some() {
            self.decode_apertures();
        } else {
            self.extra.write(offset, value);
        }
    }

    fn reset(&mut self) {
        let Self {
            id: _,
            frame_buffer,
            l2,
            mc,
            extra,
            space: _,
            taken,
            held,
            withheld,
            set: _,
        } = self;
        l2.reset();
        mc.reset();
        extra.reset();
        *taken = 0;
        *held = 0;
        *withheld = [0; InvalidationEngine::COUNT as usize];
        let last = frame_buffer.base.plus(frame_buffer.size.saturating_sub(1));
        mc.set(
            reg::FB_LOCATION_BASE,
            (frame_buffer.base.get() >> 24 & 0xff_ffff) as u32,
        );
        mc.set(reg::FB_LOCATION_TOP, (last.get() >> 24 & 0xff_ffff) as u32);
        self.decode_apertures();
        for vmid in Vmid::all() {
            self.decode_context(vmid);
        }
        self.set = 0;
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
