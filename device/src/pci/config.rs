//! Configuration space: values behind masks, and what writes set off.

use mmio::AccessError;

use super::CONFIG_SIZE;
use super::layout::{
    BASE_ADDRESS_0, COMMAND, COMMAND_MASTER, COMMAND_MEMORY, EXP_DEVCTL, EXP_DEVCTL_BCR_FLR, Layout,
    LayoutError, MSI, MSI_ADDRESS_HI, MSI_ADDRESS_LO, MSI_DATA_64, MSI_FLAGS, MSI_FLAGS_ENABLE, MSI_SIZE,
    PM_CTRL, PM_CTRL_STATE_MASK,
};

/// What a write to configuration space asks of the rest of the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigEffect {
    /// Command.BME changed: the function may, or may no longer, master the bus.
    BusMaster(bool),
    /// The function is to be reset (Device Control bit 15). The bit itself reads as 0 all the time.
    FunctionLevelReset,
    /// Command.MSE changed: BARs decode, or do not.
    MemoryEnable(bool),
    /// MSI was switched on or off, or its address or data changed: see [`ConfigSpace::msi`].
    MsiChanged,
    /// The power state changed.
    PowerState(PowerState),
}

/// The power states that the function knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerState {
    /// On.
    D0,
    /// Off as far as software can switch it off; configuration space stays reachable.
    D3Hot,
}

/// Message-signalled interrupts as configured. In a VMM the message travels as an eventfd, so this is for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Msi {
    /// Whether interrupts are sent this way.
    pub enabled: bool,
    /// Where the message goes.
    pub address: u64,
    /// What it says.
    pub data: u16,
}

/// Masks of one byte.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    reset: u8,
    write_mask: u8,
    w1c_mask: u8,
}

/// The configuration space of a type 0 function.
///
/// Accesses may have any length and alignment: every byte is a lane with masks of its own, as on the bus.
#[derive(Debug, Clone)]
pub struct ConfigSpace {
    lanes: Box<[Lane; CONFIG_SIZE]>,
    values: Box<[u8; CONFIG_SIZE]>,
}

impl ConfigSpace {
    /// The space after power-on.
    ///
    /// # Errors
    /// [`LayoutError`] if no function can look like that.
    pub fn new(layout: &Layout) -> Result<Self, LayoutError> {
        let mut lanes = Box::new([Lane::default(); CONFIG_SIZE]);
        for register in layout.registers()? {
            let bytes = register
                .reset
                .to_le_bytes()
                .into_iter()
                .zip(register.write_mask.to_le_bytes())
                .zip(register.w1c_mask.to_le_bytes())
                .take(register.width);
            let mine = lanes.iter_mut().skip(register.offset.into());
            for (lane, ((reset, write_mask), w1c_mask)) in mine.zip(bytes) {
                *lane = Lane {
                    reset,
                    write_mask,
                    w1c_mask,
                };
            }
        }
        let mut space = Self {
            lanes,
            values: Box::new([0; CONFIG_SIZE]),
        };
        space.reset();
        Ok(space)
    }

    /// Back to the values after power-on: what FLR and DEVICE_RESET do to configuration space.
    pub fn reset(&mut self) {
        let Self { lanes, values } = self;
        for (value, lane) in values.iter_mut().zip(lanes.iter()) {
            *value = lane.reset;
        }
    }

    /// Reads `data.len()` bytes at `offset`.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`] if any is outside.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        let start = check(offset, data.len())?;
        let values = self.values.get(start..).unwrap_or_default();
        for (byte, value) in data.iter_mut().zip(values) {
            *byte = *value;
        }
        Ok(())
    }

    /// Writes `data` at `offset` and returns what that sets off, in the order in which it is to be carried out.
    ///
    /// # Errors
    /// [`AccessError::OutOfRange`] if any byte is outside; then nothing was written.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<Vec<ConfigEffect>, AccessError> {
        let start = check(offset, data.len())?;
        let before = self.state();
        let lanes = self.lanes.iter().zip(self.values.iter_mut()).skip(start);
        for ((lane, value), new) in lanes.zip(data) {
            *value = (*value & !lane.write_mask | new & lane.write_mask) & !(new & lane.w1c_mask);
        }
        if self.power_bits().is_none() {
            // D1 and D2 do not exist: such a write completes and changes nothing (PCI PM 1.2, 3.2.4).
            self.set_power_bits(before.power);
        }
        let after = self.state();
        let mut effects = Vec::new();
        if before.memory != after.memory {
            effects.push(ConfigEffect::MemoryEnable(after.memory));
        }
        if before.bus_master != after.bus_master {
            effects.push(ConfigEffect::BusMaster(after.bus_master));
        }
        if before.msi != after.msi {
            effects.push(ConfigEffect::MsiChanged);
        }
        if before.power != after.power {
            effects.push(ConfigEffect::PowerState(after.power));
        }
        let [_, flr] = EXP_DEVCTL_BCR_FLR.to_le_bytes();
        let written = usize::from(EXP_DEVCTL + 1)
            .checked_sub(start)
            .and_then(|index| data.get(index));
        if written.is_some_and(|byte| byte & flr != 0) {
            effects.push(ConfigEffect::FunctionLevelReset);
        }
        Ok(effects)
    }

    /// Whether the function may master the bus.
    pub fn bus_master(&self) -> bool {
        self.u16(COMMAND) & COMMAND_MASTER != 0
    }

    /// Whether memory BARs decode.
    pub fn memory_enabled(&self) -> bool {
        self.u16(COMMAND) & COMMAND_MEMORY != 0
    }

    /// The power state.
    pub fn power_state(&self) -> PowerState {
        self.power_bits().unwrap_or(PowerState::D0)
    }

    /// Message-signalled interrupts as configured.
    pub fn msi(&self) -> Msi {
        Msi {
            enabled: self.u16(MSI_FLAGS) & MSI_FLAGS_ENABLE != 0,
            address: u64::from(self.u32(MSI_ADDRESS_HI)) << 32 | u64::from(self.u32(MSI_ADDRESS_LO)),
            data: self.u16(MSI_DATA_64),
        }
    }

    /// The dword of BAR `index` as software sees it; 0 if there is none.
    pub fn bar(&self, index: u8) -> u32 {
        match index {
            0..=5 => self.u32(BASE_ADDRESS_0 + 4 * u16::from(index)),
            _ => 0,
        }
    }

    fn power_bits(&self) -> Option<PowerState> {
        match self.u16(PM_CTRL) & PM_CTRL_STATE_MASK {
            0 => Some(PowerState::D0),
            3 => Some(PowerState::D3Hot),
            _ => None,
        }
    }

    fn set_power_bits(&mut self, state: PowerState) {
        let bits = match state {
            PowerState::D0 => 0,
            PowerState::D3Hot => 3,
        };
        let [mask, _] = PM_CTRL_STATE_MASK.to_le_bytes();
        if let Some(byte) = self.values.get_mut(usize::from(PM_CTRL)) {
            *byte = *byte & !mask | bits;
        }
    }

    fn state(&self) -> State {
        let mut msi = [0; MSI_SIZE];
        let values = self.values.get(usize::from(MSI)..).unwrap_or_default();
        for (byte, value) in msi.iter_mut().zip(values) {
            *byte = *value;
        }
        State {
            memory: self.memory_enabled(),
            bus_master: self.bus_master(),
            power: self.power_state(),
            msi,
        }
    }

    fn bytes<const N: usize>(&self, offset: u16) -> [u8; N] {
        let values = self.values.get(usize::from(offset)..).unwrap_or_default();
        values.first_chunk().copied().unwrap_or([0; N])
    }

    fn u16(&self, offset: u16) -> u16 {
        u16::from_le_bytes(self.bytes(offset))
    }

    fn u32(&self, offset: u16) -> u32 {
        u32::from_le_bytes(self.bytes(offset))
    }
}

/// What writes have effects on, compared before and after.
struct State {
    memory: bool,
    bus_master: bool,
    power: PowerState,
    msi: [u8; MSI_SIZE],
}

/// The offset as an index, if the whole access is inside.
fn check(offset: u64, len: usize) -> Result<usize, AccessError> {
    let size = CONFIG_SIZE as u64;
    usize::try_from(offset)
        .ok()
        .filter(|start| start.checked_add(len).is_some_and(|end| end <= CONFIG_SIZE))
        .ok_or(AccessError::OutOfRange { offset, len, size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::PciIdentity;

    #[test]
    fn a_one_clears_exactly_the_status_bits_it_stands_at() {
        const STATUS: usize = 0x06;
        let identity = PciIdentity {
            vendor: 1,
            device: 1,
            revision: 0,
            class: 0,
            subsystem_vendor: 0,
            subsystem: 0,
        };
        let mut space = ConfigSpace::new(&Layout {
            identity,
            bars: vec![],
            rom_size: 0,
            no_soft_reset: true,
        })
        .unwrap();
        space.values[STATUS + 1] = 0xf9; // as if errors had been detected
        space.write(STATUS as u64, &[0xff, 0x00]).unwrap();
        assert_eq!(
            space.values[STATUS..STATUS + 2],
            [0x10, 0xf9],
            "zeros clear nothing"
        );
        space.write(STATUS as u64 + 1, &[0x81]).unwrap();
        assert_eq!(space.values[STATUS..STATUS + 2], [0x10, 0x78]);
    }
}
