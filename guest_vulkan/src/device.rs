//! A `VkDevice` with its buffers, and what its queues do.

#![expect(
    unsafe_code,
    reason = "every call of Vulkan's is one, and so is memory that it maps"
)]

use std::ffi::c_void;

use ash::vk;

use crate::answer::{Compared, Failed, in_call};
use crate::gpu::Gpu;
use crate::plan::{self, Command, MOST, Plan, SIZE};

/// How long a round may take, in nanoseconds. Longer than any time limit of the kernel driver's.
const LIMIT: u64 = 100_000_000_000;
const BYTES: u64 = SIZE as u64;

/// A buffer with memory of its own.
#[derive(Debug, Clone, Copy, Default)]
struct Buffer {
    buffer: vk::Buffer,
    memory: vk::DeviceMemory,
    /// Where the processor sees it; null if it does not.
    mapped: usize,
}

/// Where a buffer is to be.
#[derive(Debug, Clone, Copy)]
struct Place {
    with: vk::MemoryPropertyFlags,
    without: vk::MemoryPropertyFlags,
    map: bool,
}

/// In system memory.
const SYSTEM: Place = Place {
    with: vk::MemoryPropertyFlags::from_raw(
        vk::MemoryPropertyFlags::HOST_VISIBLE.as_raw() | vk::MemoryPropertyFlags::HOST_COHERENT.as_raw(),
    ),
    without: vk::MemoryPropertyFlags::DEVICE_LOCAL,
    map: true,
};
/// In VRAM.
const VRAM: Place = Place {
    with: vk::MemoryPropertyFlags::DEVICE_LOCAL,
    without: vk::MemoryPropertyFlags::HOST_VISIBLE,
    map: false,
};
/// In VRAM, and mapped.
const WINDOW: Place = Place {
    with: vk::MemoryPropertyFlags::from_raw(
        vk::MemoryPropertyFlags::DEVICE_LOCAL.as_raw() | SYSTEM.with.as_raw(),
    ),
    without: vk::MemoryPropertyFlags::empty(),
    map: true,
};

/// A device.
pub struct Device {
    device: ash::Device,
    number: u64,
    /// One of each family, with a pool of its commands.
    queues: Vec<(vk::Queue, vk::CommandPool)>,
    source: Buffer,
    target: Buffer,
    vram: Buffer,
    window: Buffer,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: everything is the device's own and is used no more. Its work has ended: each round is waited for, or the device is lost, and
        // waiting then returns at once.
        unsafe {
            let _ = self.device.device_wait_idle();
            for (_, pool) in &self.queues {
                self.device.destroy_command_pool(*pool, None);
            }
            for buffer in [self.source, self.target, self.vram, self.window] {
                self.device.destroy_buffer(buffer.buffer, None);
                self.device.free_memory(buffer.memory, None);
            }
            self.device.destroy_device(None);
        }
    }
}

impl Device {
    /// Makes one, with a queue of each family.
    pub fn new(gpu: &Gpu, number: u64) -> Result<Self, Failed> {
        let families: Vec<_> = gpu.families.iter().map(|family| family.index).collect();
        let queues: Vec<_> = families
            .iter()
            .map(|index| {
                vk::DeviceQueueCreateInfo::default()
                    .queue_family_index(*index)
                    .queue_priorities(&[1.0])
            })
            .collect();
        let create = vk::DeviceCreateInfo::default().queue_create_infos(&queues);
        // SAFETY: the structures live through the call; the GPU is the instance's and has these families.
        let device = unsafe { gpu.instance.create_device(gpu.physical, &create, None) }
            .map_err(in_call("vkCreateDevice"))?;
        // From here on it is destroyed whatever happens, and what was not made is null, which is fine.
        let mut made = Self {
            device,
            number,
            queues: Vec::new(),
            source: Buffer::default(),
            target: Buffer::default(),
            vram: Buffer::default(),
            window: Buffer::default(),
        };
        for index in &families {
            let pool = vk::CommandPoolCreateInfo::default().queue_family_index(*index);
            // SAFETY: the family is one that the device was made with, each with a queue 0.
            let (queue, pool) = unsafe {
                (
                    made.device.get_device_queue(*index, 0),
                    made.device.create_command_pool(&pool, None),
                )
            };
            made.queues
                .push((queue, pool.map_err(in_call("vkCreateCommandPool"))?));
        }
        made.fill_in(gpu, &families)?;
        made.write(&made.window, &plan::pattern(number));
        Ok(made)
    }

    fn fill_in(&mut self, gpu: &Gpu, families: &[u32]) -> Result<(), Failed> {
        self.source = self.buffer(gpu, families, SYSTEM)?;
        self.target = self.buffer(gpu, families, SYSTEM)?;
        self.vram = self.buffer(gpu, families, VRAM)?;
        self.window = self.buffer(gpu, families, WINDOW)?;
        Ok(())
    }

    fn buffer(&self, gpu: &Gpu, families: &[u32], place: Place) -> Result<Buffer, Failed> {
        let mut create = vk::BufferCreateInfo::default()
            .size(BYTES)
            .usage(vk::BufferUsageFlags::TRANSFER_SRC | vk::BufferUsageFlags::TRANSFER_DST);
        if families.len() > 1 {
            create = create
                .sharing_mode(vk::SharingMode::CONCURRENT)
                .queue_family_indices(families);
        }
        let device = &self.device;
        // SAFETY: the structure lives through the call.
        let buffer = unsafe { device.create_buffer(&create, None) }.map_err(in_call("vkCreateBuffer"))?;
        // SAFETY: the buffer was just made.
        let needed = unsafe { device.get_buffer_memory_requirements(buffer) };
        let mut found = Buffer {
            buffer,
            ..Buffer::default()
        };
        let result = self.back(gpu, place, needed, &mut found);
        if result.is_err() {
            // SAFETY: both were just made, or are null, and are used nowhere.
            unsafe {
                device.destroy_buffer(found.buffer, None);
                device.free_memory(found.memory, None);
            }
        }
        result.map(|()| found)
    }

    fn back(
        &self,
        gpu: &Gpu,
        place: Place,
        needed: vk::MemoryRequirements,
        buffer: &mut Buffer,
    ) -> Result<(), Failed> {
        let kind = memory_type(&gpu.memory, needed.memory_type_bits, place).ok_or(Failed {
            call: "vkGetPhysicalDeviceMemoryProperties",
            result: vk::Result::ERROR_FEATURE_NOT_PRESENT,
        })?;
        let allocate = vk::MemoryAllocateInfo::default()
            .allocation_size(needed.size)
            .memory_type_index(kind);
        // SAFETY: the structure lives through the call; the kind of memory is one that the buffer takes.
        buffer.memory =
            unsafe { self.device.allocate_memory(&allocate, None) }.map_err(in_call("vkAllocateMemory"))?;
        // SAFETY: neither is bound to anything, and the memory is as large as the buffer needs.
        unsafe { self.device.bind_buffer_memory(buffer.buffer, buffer.memory, 0) }
            .map_err(in_call("vkBindBufferMemory"))?;
        if place.map {
            let flags = vk::MemoryMapFlags::empty();
            // SAFETY: the memory can be mapped, is not, and stays until it is freed.
            let mapped = unsafe { self.device.map_memory(buffer.memory, 0, BYTES, flags) };
            buffer.mapped = mapped.map_err(in_call("vkMapMemory"))?.cast::<c_void>() as usize;
        }
        Ok(())
    }

    /// How many queues it has.
    pub const fn queues(&self) -> usize {
        self.queues.len()
    }

    /// Has a queue do a round and compares what came of it.
    pub fn round(&self, queue: usize, plan: &Plan) -> Result<Compared, Failed> {
        let Some((queue, pool)) = self.queues.get(queue) else {
            return Ok(Compared::default());
        };
        self.write(&self.source, &plan.source);
        self.write(&self.target, &vec![0xa5; SIZE]);
        let device = &self.device;
        // SAFETY: no commands of the pool are pending: the round before was waited for, or its device is lost.
        unsafe { device.reset_command_pool(*pool, vk::CommandPoolResetFlags::RELEASE_RESOURCES) }
            .map_err(in_call("vkResetCommandPool"))?;
        let allocate = vk::CommandBufferAllocateInfo::default()
            .command_pool(*pool)
            .command_buffer_count(1);
        // SAFETY: the pool is the device's.
        let buffers = unsafe { device.allocate_command_buffers(&allocate) }
            .map_err(in_call("vkAllocateCommandBuffers"))?;
        let result = self
            .record(&buffers, plan)
            .and_then(|()| self.submit(*queue, &buffers));
        // After a time limit that passed they stay until the pool goes.
        if result.is_ok() {
            // SAFETY: they are of this pool, and not pending: the fence was waited for.
            unsafe { device.free_command_buffers(*pool, &buffers) };
        }
        result?;
        Ok(Compared::of(&self.read(&self.target), &plan.expected))
    }

    fn record(&self, buffers: &[vk::CommandBuffer], plan: &Plan) -> Result<(), Failed> {
        let (device, vram) = (&self.device, self.vram.buffer);
        for commands in buffers.iter().copied() {
            let begin =
                vk::CommandBufferBeginInfo::default().flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
            // SAFETY: the command buffer was just allocated. All buffers are the device's, and the plan stays within them (see its tests).
            unsafe {
                device
                    .begin_command_buffer(commands, &begin)
                    .map_err(in_call("vkBeginCommandBuffer"))?;
                for group in &plan.groups {
                    for command in group {
                        self.command(commands, command);
                    }
                    self.barrier(
                        commands,
                        vk::PipelineStageFlags::TRANSFER,
                        vk::AccessFlags::TRANSFER_READ,
                    );
                }
                for at in (0..SIZE).step_by(MOST) {
                    let length = MOST.min(SIZE - at);
                    let region = [region(at, at, length)];
                    device.cmd_copy_buffer(commands, vram, self.target.buffer, &region);
                }
                self.barrier(commands, vk::PipelineStageFlags::HOST, vk::AccessFlags::HOST_READ);
                device
                    .end_command_buffer(commands)
                    .map_err(in_call("vkEndCommandBuffer"))?;
            }
        }
        Ok(())
    }

    /// Records one command.
    ///
    /// # Safety
    /// The command buffer is one of this device's that is being recorded.
    unsafe fn command(&self, commands: vk::CommandBuffer, command: &Command) {
        let (device, vram) = (&self.device, self.vram.buffer);
        // SAFETY: as above; places are within the buffers.
        unsafe {
            match command {
                Command::Fill { at, length, value } => {
                    device.cmd_fill_buffer(commands, vram, *at as u64, *length as u64, *value);
                }
                Command::Update { at, bytes } => {
                    device.cmd_update_buffer(commands, vram, *at as u64, bytes);
                }
                Command::Upload { at, length } => {
                    let region = [region(*at, *at, *length)];
                    device.cmd_copy_buffer(commands, self.source.buffer, vram, &region);
                }
                Command::Move { from, to, length } => {
                    let region = [region(*from, *to, *length)];
                    device.cmd_copy_buffer(commands, vram, vram, &region);
                }
            }
        }
    }

    /// Makes what was written visible to what comes.
    ///
    /// # Safety
    /// The command buffer is one of this device's that is being recorded.
    unsafe fn barrier(
        &self,
        commands: vk::CommandBuffer,
        to: vk::PipelineStageFlags,
        access: vk::AccessFlags,
    ) {
        let barrier = vk::MemoryBarrier::default()
            .src_access_mask(vk::AccessFlags::TRANSFER_WRITE)
            .dst_access_mask(access | vk::AccessFlags::TRANSFER_WRITE & mask(to));
        // SAFETY: as above; the barrier lives through the call.
        unsafe {
            self.device.cmd_pipeline_barrier(
                commands,
                vk::PipelineStageFlags::TRANSFER,
                to,
                vk::DependencyFlags::empty(),
                &[barrier],
                &[],
                &[],
            );
        }
    }

    fn submit(&self, queue: vk::Queue, buffers: &[vk::CommandBuffer]) -> Result<(), Failed> {
        let device = &self.device;
        // SAFETY: the structure lives through the call.
        let fence = unsafe { device.create_fence(&vk::FenceCreateInfo::default(), None) }
            .map_err(in_call("vkCreateFence"))?;
        let submit = [vk::SubmitInfo::default().command_buffers(buffers)];
        // SAFETY: queue, commands and fence are the device's; the commands are recorded, the fence is not signalled.
        let result = unsafe { device.queue_submit(queue, &submit, fence) }
            .map_err(in_call("vkQueueSubmit"))
            .and_then(|()| {
                // SAFETY: the fence is the device's.
                unsafe { device.wait_for_fences(&[fence], true, LIMIT) }.map_err(in_call("vkWaitForFences"))
            });
        if !matches!(result, Err(failed) if failed.result == vk::Result::TIMEOUT) {
            // SAFETY: nothing is pending: the work is done, was not taken, or the device is lost.
            unsafe { device.destroy_fence(fence, None) };
        }
        result
    }

    /// Compares what the processor sees of VRAM with what it put there.
    pub fn look(&self) -> Compared {
        Compared::of(&self.read(&self.window), &plan::pattern(self.number))
    }

    fn write(&self, buffer: &Buffer, bytes: &[u8]) {
        if buffer.mapped != 0 && bytes.len() == SIZE {
            // SAFETY: so many bytes are mapped there, coherently, for as long as the buffer is there; the GPU does not use them now.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.mapped as *mut u8, SIZE) };
        }
    }

    fn read(&self, buffer: &Buffer) -> Vec<u8> {
        let mut bytes = vec![0; SIZE];
        if buffer.mapped == 0 {
            return Vec::new();
        }
        // SAFETY: as for writing.
        unsafe { std::ptr::copy_nonoverlapping(buffer.mapped as *const u8, bytes.as_mut_ptr(), SIZE) };
        bytes
    }
}

/// Writes after writes matter to commands and not to the processor.
fn mask(to: vk::PipelineStageFlags) -> vk::AccessFlags {
    if to == vk::PipelineStageFlags::TRANSFER {
        vk::AccessFlags::TRANSFER_WRITE
    } else {
        vk::AccessFlags::empty()
    }
}

const fn region(from: usize, to: usize, length: usize) -> vk::BufferCopy {
    vk::BufferCopy {
        src_offset: from as u64,
        dst_offset: to as u64,
        size: length as u64,
    }
}

/// The first kind of memory that is allowed and as it has to be; one that has what it should not have only if there is no other.
fn memory_type(memory: &vk::PhysicalDeviceMemoryProperties, allowed: u32, place: Place) -> Option<u32> {
    let kinds = || {
        (0..)
            .zip(memory.memory_types_as_slice())
            .filter(move |(index, kind)| {
                allowed & 1_u32.checked_shl(*index).unwrap_or(0) != 0
                    && kind.property_flags.contains(place.with)
            })
    };
    let best = kinds().find(|(_, kind)| !kind.property_flags.intersects(place.without));
    best.or_else(|| kinds().next()).map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_where_it_has_to_be() {
        let mut memory = vk::PhysicalDeviceMemoryProperties {
            memory_type_count: 3,
            ..Default::default()
        };
        memory.memory_types[0].property_flags = vk::MemoryPropertyFlags::DEVICE_LOCAL;
        memory.memory_types[1].property_flags = SYSTEM.with;
        memory.memory_types[2].property_flags = WINDOW.with;
        assert_eq!(memory_type(&memory, 7, VRAM), Some(0));
        assert_eq!(memory_type(&memory, 7, SYSTEM), Some(1));
        assert_eq!(memory_type(&memory, 7, WINDOW), Some(2));
        // All of VRAM is visible, as with a BAR of its size.
        assert_eq!(memory_type(&memory, 6, VRAM), Some(2));
        assert_eq!(memory_type(&memory, 1, SYSTEM), None);
    }
}
