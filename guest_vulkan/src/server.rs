//! Does what it is ordered to do.

use std::time::Instant;

use ash::vk;

use crate::answer::{Answer, Compared, Failed, Name};
use crate::device::Device;
use crate::gpu::{Gpu, NoGpu};
use crate::plan::Plan;

/// What there is between orders.
#[derive(Debug, Default)]
pub struct Server {
    /// Dropped before the instance that they are of.
    devices: Vec<Device>,
    gpu: Option<Gpu>,
    rounds: u64,
    spoiled: bool,
    ended: bool,
}

/// Which of the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Oldest,
    Newest,
    New,
}

impl Which {
    fn parse(word: Option<&str>) -> Option<Self> {
        match word {
            None => Some(Self::Newest),
            Some("old") => Some(Self::Oldest),
            Some("new") => Some(Self::New),
            Some(_) => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Oldest => "old",
            Self::Newest => "newest",
            Self::New => "new",
        }
    }
}

impl Server {
    /// Whether no more orders are taken.
    pub const fn ended(&self) -> bool {
        self.ended
    }

    /// Does one.
    pub fn perform(&mut self, line: &str) -> Answer {
        let mut answer = Answer::default();
        let mut words = line.split_whitespace();
        let (verb, which) = (words.next().unwrap_or_default(), Which::parse(words.next()));
        match (verb, which) {
            ("open", _) if self.gpu.is_some() => answer.refuse("it is open already"),
            ("open", _) => self.open(&mut answer),
            ("close", _) => {
                self.devices.clear();
                self.gpu = None;
                self.ended = true;
                answer.end(Ok(()), Compared::default());
            }
            _ if self.gpu.is_none() => answer.refuse("there is no instance: open first"),
            ("spoil", _) => {
                self.spoiled = true;
                answer.end(Ok(()), Compared::default());
            }
            ("use", Some(which)) => {
                let started = Instant::now();
                let (queues, compared, result) = self.work(which);
                self.report(
                    "vulkan-use",
                    which,
                    started,
                    (queues, compared, result),
                    &mut answer,
                );
            }
            ("look", Some(which)) if which != Which::New => {
                let started = Instant::now();
                let found = self.device(which).map(|device| device.look());
                let result = found.map(|_| ());
                let compared = found.unwrap_or_default();
                self.report("vulkan-look", which, started, (0, compared, result), &mut answer);
            }
            _ => answer.refuse(&format!("there is no order {line:?}")),
        }
        answer
    }

    fn open(&mut self, answer: &mut Answer) {
        let gpu = match Gpu::open() {
            Ok(gpu) => gpu,
            Err(NoGpu::Vulkan(failed)) => return answer.end(Err(failed), Compared::default()),
            Err(NoGpu::Other(why)) => return answer.refuse(&why),
        };
        let queues: Vec<_> = gpu.families.iter().map(|family| family.name.as_str()).collect();
        answer.note(
            "vulkan",
            &[
                ("device", gpu.name.clone()),
                ("driver", gpu.driver.clone()),
                ("version", gpu.driver_info.clone()),
                ("api", gpu.api.clone()),
                ("queues", queues.join(",")),
            ],
        );
        let made = Device::new(&gpu, 0);
        self.gpu = Some(gpu);
        let result = made.map(|device| self.devices.push(device));
        answer.end(result, Compared::default());
    }

    fn work(&mut self, which: Which) -> (u64, Compared, Result<(), Failed>) {
        let (mut queues, mut compared) = (0, Compared::default());
        let result = self.work_on(which, &mut queues, &mut compared);
        (queues, compared, result)
    }

    fn work_on(&mut self, which: Which, queues: &mut u64, compared: &mut Compared) -> Result<(), Failed> {
        if which == Which::New
            && let Some(gpu) = &self.gpu
        {
            let number = u64::try_from(self.devices.len()).unwrap_or(u64::MAX);
            self.devices.push(Device::new(gpu, number)?);
        }
        let spoiled = std::mem::take(&mut self.spoiled);
        let mut seed = self.rounds;
        let device = self.device(which)?;
        for queue in 0..device.queues() {
            seed += 1;
            compared.add(device.round(queue, &Plan::new(seed, spoiled))?);
            *queues += 1;
        }
        self.rounds = seed;
        Ok(())
    }

    fn device(&self, which: Which) -> Result<&Device, Failed> {
        let device = match which {
            Which::Oldest => self.devices.first(),
            Which::Newest | Which::New => self.devices.last(),
        };
        // It was opened, but no device was made.
        device.ok_or(Failed {
            call: "vkCreateDevice",
            result: vk::Result::ERROR_INITIALIZATION_FAILED,
        })
    }

    fn report(
        &self,
        about: &str,
        which: Which,
        started: Instant,
        (queues, compared, result): (u64, Compared, Result<(), Failed>),
        answer: &mut Answer,
    ) {
        let (name, call) = match result {
            Ok(()) => (vk::Result::SUCCESS, ""),
            Err(failed) => (failed.result, failed.call),
        };
        let mut facts = vec![
            ("vkdevice", which.name().to_owned()),
            ("vkdevices", self.devices.len().to_string()),
            ("result", Name(name).to_string()),
            ("call", call.to_owned()),
            ("bytes", compared.bytes.to_string()),
            ("wrong", compared.wrong.to_string()),
            ("ms", started.elapsed().as_millis().to_string()),
        ];
        if about == "vulkan-use" {
            facts.push(("queues", queues.to_string()));
        }
        answer.note(about, &facts);
        answer.end(result, compared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_instance_nothing_is_done() {
        let mut server = Server::default();
        for line in ["use", "look old", "spoil"] {
            assert!(
                server
                    .perform(line)
                    .lines()
                    .starts_with("refused\tthere is no instance")
            );
        }
        assert_eq!(server.perform("close").lines(), "end\tVK_SUCCESS\t\t0\t0\n");
        assert!(server.ended());
    }

    #[test]
    fn a_device_is_the_oldest_the_newest_or_a_new_one() {
        assert_eq!(Which::parse(None), Some(Which::Newest));
        assert_eq!(Which::parse(Some("old")), Some(Which::Oldest));
        assert_eq!(Which::parse(Some("new")), Some(Which::New));
        assert_eq!(Which::parse(Some("blue")), None);
    }
}
