//! The client: buffers in both memories, copies and fills by the SDMA engine, every byte compared; and what a client can be
//! told to do to the GPU.

mod border;
mod churn;
mod compute;
mod evict;
pub mod fresh;
mod jobs;
mod order;
mod set;
mod smi;
mod stale;
mod state;
mod svm;

use std::path::Path;
use std::time::Instant;

pub use order::Order;
use set::Client;

use crate::drm::{Device, DeviceInfo, FIRMWARE};
use crate::json::Object;
use crate::kfd::Kfd;
use crate::{marker, sys};

const PAGE: u64 = 0x1000;
/// What one entry of the third last level of page tables covers.
const GIB: u64 = 1 << 30;
/// Where buffers get their addresses: far above what the kernel keeps for itself, each in its own GiB.
const FIRST_ADDRESS: u64 = 4 * GIB;

/// What the client is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Seed of all contents.
    pub seed: u64,
    /// Size of the largest buffers in MiB.
    pub large: u64,
    /// How often the whole set is done.
    pub rounds: u64,
    /// Whether to wait for the host while the mappings are there.
    pub hold: bool,
    /// The comparison, counted from 1, before which a byte of the target is changed behind the GPU's back; 0 for none.
    /// A comparison that does not notice is worth nothing.
    pub sabotage: u64,
    /// Threads that map, unmap, fill and copy without end, instead of the set; 0 for none.
    pub churn: u64,
    /// Whether its VM is a compute VM: the process is one of KFD's.
    pub compute: bool,
    /// Whether it ignores SIGBUS, by which KFD ends processes since 7.3.
    pub ignores_bus: bool,
}

impl Options {
    /// Reads `seed=1 large=4 rounds=1 hold=1 sabotage=0 churn=0 vm=ordinary sigbus=default`.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            seed: 1,
            large: 4,
            rounds: 1,
            hold: true,
            sabotage: 0,
            churn: 0,
            compute: false,
            ignores_bus: false,
        };
        for argument in arguments {
            let (name, value) = argument
                .split_once('=')
                .ok_or_else(|| format!("client: {argument:?} is not NAME=NUMBER"))?;
            if name == "vm" {
                options.compute = match value {
                    "compute" => true,
                    "ordinary" => false,
                    _ => return Err(format!("client: vm={value:?} is not ordinary or compute")),
                };
                continue;
            }
            if name == "sigbus" {
                options.ignores_bus = match value {
                    "ignored" => true,
                    "default" => false,
                    _ => return Err(format!("client: sigbus={value:?} is not default or ignored")),
                };
                continue;
            }
            let value: u64 = value
                .parse()
                .map_err(|_| format!("client: {value:?} is no number"))?;
            match name {
                "seed" => options.seed = value,
                "large" if (4..=512).contains(&value) => options.large = value,
                "large" => return Err("client: large goes from 4 to 512 MiB".to_owned()),
                "rounds" => options.rounds = value,
                "hold" => options.hold = value != 0,
                "sabotage" => options.sabotage = value,
                "churn" if value <= churn::MOST_THREADS => options.churn = value,
                "churn" => {
                    return Err(format!(
                        "client: churn goes up to {} threads",
                        churn::MOST_THREADS
                    ));
                }
                _ => return Err(format!("client: there is no {name:?}")),
            }
        }
        Ok(options)
    }
}

/// Reports what the driver says about the device.
pub fn report_device(device: &Device) -> Result<DeviceInfo, String> {
    let info = device.info()?;
    let (major, minor, patch) = info.version;
    marker::note(
        "device",
        &Object::new()
            .text("interface", &format!("{major}.{minor}.{patch}"))
            .text("device_id", &format!("{:#06x}", info.device_id))
            .number("family", info.family.into())
            .number("external_rev", info.external_rev.into())
            .number("active_units", info.active_units.into())
            .number("vram", info.vram)
            .number("visible_vram", info.visible_vram)
            .number("gtt", info.gtt)
            .text("address_first", &format!("{:#x}", info.address_first))
            .text(
                "sdma",
                &format!("{}.{}", info.sdma_version.0, info.sdma_version.1),
            )
            .text("sdma_rings", &format!("{:#x}", info.sdma_rings))
            .number("vram_lost", device.vram_lost_counter()?.into()),
    );
    let firmware = FIRMWARE.iter().try_fold(Object::new(), |object, (name, kind)| {
        let version = device.firmware(*kind)?;
        Ok::<_, String>(object.text(name, &format!("{version:#x}")))
    })?;
    marker::note("firmware", &firmware);
    Ok(info)
}

/// The whole life of a client that does everything in one step.
pub fn run(node: &Path, options: Options) -> Result<(), String> {
    let started = Instant::now();
    let device = Device::open(node)?;
    let kfd = acquired(&device, options)?;
    let mut client = Client::start(&device, kfd.as_ref(), "client", options)?;
    if options.hold {
        crate::steps::hold("client")?;
        client.copies()?;
    }
    client.report(started)?;
    client.close()
}

/// The whole life of a client that stays. `next` takes the result of what was done last and gives the next order; without
/// one the client ends.
pub fn stay(
    node: &Path,
    name: &str,
    options: Options,
    mut next: impl FnMut(Result<(), String>) -> Option<Order>,
) -> Result<(), String> {
    if options.churn > 0 {
        return churn::stay(node, name, options, next);
    }
    let device = Device::open(node)?;
    let kfd = acquired(&device, options)?;
    let mut client = Client::start(&device, kfd.as_ref(), name, options)?;
    let mut result = Ok(());
    loop {
        result = match next(result) {
            None | Some(Order::Close) => return client.close(),
            Some(order) => client.perform(&order),
        };
    }
}

/// KFD's side of a client that wants a compute VM.
fn acquired(device: &Device, options: Options) -> Result<Option<Kfd>, String> {
    if options.compute {
        // Rust's runtime has a handler that takes the first SIGBUS for an overflow of the stack and goes on.
        sys::handle_bus(options.ignores_bus);
    }
    options.compute.then(|| compute::acquire(device)).transpose()
}

impl Client<'_> {
    fn perform(&mut self, order: &Order) -> Result<(), String> {
        match order {
            // Whoever gives the orders handles the end.
            Order::Close => Ok(()),
            Order::Use { new_context } => self.again(*new_context),
            Order::Verify => self.verify(),
            Order::Resume => self.resume(),
            Order::Remap => self.remap(),
            Order::Evict => self.evict(),
            Order::Compute { new_context } => self.compute(*new_context),
            Order::ResetEvent { limit } => self.reset_event(*limit),
            Order::Kfd => self.ask_kfd(),
            Order::SmiOpen => self.open_smi(),
            Order::Smi { limit } => self.smi(*limit),
            Order::Prefetch => self.prefetch(),
            Order::Shared => self.compare_shared(),
            Order::Hang { engine, how } => self.hang(*engine, *how),
            Order::Submit { engine } => self.submit_copy(*engine),
            Order::Release => self.release(),
            Order::Wait(wanted) => self.wait(wanted),
            Order::State(expected) => self.report_state(*expected),
            Order::Fault { engine, count } => self.fault(*engine, *count),
            Order::Border { first, last } => self.border(*first, *last),
            Order::Stale => self.stale(),
        }
    }

    /// The copies again, as a client that noticed nothing, or one that knows that its context is lost.
    fn again(&mut self, new_context: bool) -> Result<(), String> {
        let started = Instant::now();
        let result = if new_context { self.renew_context() } else { Ok(()) };
        let result = result.and_then(|()| self.copies());
        result.and(self.report(started))
    }

    /// The first submission of a new context: the least that a client does to go on, in as little time as it takes.
    fn resume(&mut self) -> Result<(), String> {
        let started = Instant::now();
        self.renew_context()?;
        self.copy_naming_all()?;
        marker::note(
            "resume",
            &Object::new()
                .text("name", &self.name)
                .number("ms", marker::milliseconds(started)),
        );
        Ok(())
    }

    /// Fills and copies through the mappings as they are, in a new context: what is judged are the mappings.
    fn verify(&mut self) -> Result<(), String> {
        let (started, before) = (Instant::now(), self.totals);
        self.renew_context()?;
        self.fills()?;
        self.copies()?;
        let lost = self.device.vram_lost_counter()?;
        marker::note(
            "verify",
            &Object::new()
                .text("name", &self.name)
                .number("operations", self.totals.operations - before.operations)
                .number("bytes_checked", self.totals.bytes - before.bytes)
                .number("vram_lost_since", lost.wrapping_sub(self.lost_at_start).into())
                .number("ms", marker::milliseconds(started)),
        );
        Ok(())
    }
}

fn length(bytes: u64) -> Result<usize, String> {
    usize::try_from(bytes).map_err(|_| format!("{bytes:#x} bytes are too many"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults_and_limits() {
        let parse =
            |text: &[&str]| Options::parse(&text.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&[]).unwrap().large, 4);
        assert_eq!(parse(&[]).unwrap().sabotage, 0);
        assert_eq!(parse(&["seed=7", "hold=0"]).unwrap().seed, 7);
        assert_eq!(parse(&["sabotage=3"]).unwrap().sabotage, 3);
        assert_eq!(parse(&["churn=3"]).unwrap().churn, 3);
        assert!(parse(&["vm=compute"]).unwrap().compute);
        assert!(parse(&["vm=compute", "sigbus=ignored"]).unwrap().ignores_bus);
        assert!(parse(&["sigbus=7"]).unwrap_err().contains('7'));
        assert!(parse(&["vm=graphics"]).unwrap_err().contains("graphics"));
        assert!(parse(&["churn=99"]).unwrap_err().contains("16"));
        assert!(parse(&["large=1"]).unwrap_err().contains("512"));
        assert!(parse(&["colour=3"]).unwrap_err().contains("colour"));
    }
}
