// SPDX-License-Identifier: GPL-2.0-only

//! The calls that are no ioctls with a struct: files, memory, limits, and what is said of a context.

use std::{
    fmt::Write,
    sync::atomic::Ordering::SeqCst,
    time::Duration, //
};

use super::Executor;

use crate::{
    answer::{
        events,
        read_faults,
        FILL, //
    },
    memory::{
        get,
        Scratch,
        ARENA,
        ARENA_PAGES,
        PAGE, //
    },
    observe,
    program::{
        Call,
        Program,
        Who, //
    },
    sys::{
        self,
        c, //
    },
    table::Action, //
};

impl Executor {
    /// Makes a call that is no ioctl with a struct. Returns its result, and writes what it read to `text`.
    pub(super) fn other(
        &self,
        program: &Program,
        index: usize,
        scratch: &mut Scratch,
        values: &mut [u64],
        text: &mut String,
    ) -> i64 {
        let call = &program.calls[index];
        let value = |name: &str| call.of.field(name).map_or(0, |index| values[index]);
        let fd = value("fd") as i64;
        let (result, out) = match call.of.action {
            Action::Direct(request) => (self.ioctl(index, fd, request, value("argument")), 0),
            Action::Open => {
                let fd = sys::open("/dev/iommu", c::O_RDWR);
                (fd.min(0), fd as u64)
            }
            Action::OpenDevice => {
                let fd = sys::open(&self.vfio.device, c::O_RDWR);
                (fd.min(0), fd as u64)
            }
            Action::OpenGroup => {
                let fd = sys::open(&self.vfio.group, c::O_RDWR);
                (fd.min(0), fd as u64)
            }
            Action::GroupDevice => {
                let request = c::NR_VFIO_GROUP_GET_DEVICE_FD as u64;
                let name = format!("{}\0", self.vfio.name);
                let name = scratch.push(name.as_bytes()).unwrap_or(0);
                let device = self.ioctl(index, fd, request, name);
                (device.min(0), device as u64)
            }
            Action::Close => (sys::close(fd), 0),
            Action::Poll => (sys::poll(fd), 0),
            Action::ReadFaults => {
                let echo = |kind, id| self.name_of(program, index, kind, id);
                let read = |fd, to, length| self.failing(index, || sys::read(fd, to, length));
                return read_faults(call, &read, &echo, scratch, values, text);
            }
            Action::ReadEvents => {
                let length = value("length").min(PAGE);
                let Some(at) = scratch.push(&vec![FILL; length as usize]) else {
                    return 0;
                };
                let to = scratch.target(call.place, at);
                let result = self.failing(index, || sys::read(fd, to, length));
                events(at, result.clamp(0, 64) as u64, text);
                (result, 0)
            }
            Action::Respond => {
                let (data, length) = (value("data"), value("length").min(PAGE));
                (self.failing(index, || sys::write(fd, data, length)), 0)
            }
            Action::MapContext => {
                let length = value("length").min(4 * PAGE);
                let (prot, offset) = (value("prot") as u32 & 7, value("offset"));
                // Not named in older programs.
                let flags = if value("kind") == u64::from(c::MAP_PRIVATE) {
                    c::MAP_PRIVATE
                } else {
                    c::MAP_SHARED
                };
                let address = self.failing(index, || sys::mmap(0, length, prot, flags, fd, offset));
                if address > 0 {
                    if let Ok(mut mappings) = self.mappings.lock() {
                        mappings.push((address as u64, length));
                    }
                }
                (address.min(0), address as u64)
            }
            Action::UnmapContext => {
                let address = value("address");
                let mapping = self.mappings.lock().ok().and_then(|mut list| {
                    let index = list.iter().position(|(at, _)| *at == address)?;
                    Some(list.remove(index))
                });
                (
                    mapping.map_or(-i64::from(c::EINVAL), |(at, length)| {
                        sys::munmap(at, length)
                    }),
                    0,
                )
            }
            Action::Touch => (self.touch(scratch, value("address"), text), 0),
            Action::Poke => (sys::read(self.memory.files[2], value("address"), 8), 0),
            Action::Protect | Action::Drop | Action::Unmap => (self.change_memory(call, &value), 0),
            Action::Limit => {
                self.limited.store(true, SeqCst);
                (sys::limit_locked(value("bytes")), 0)
            }
            Action::Kill => {
                let child = (value("child") as usize).checked_sub(1);
                let status = child.and_then(|child| self.children.kill(child));
                (
                    status.map_or(-i64::from(c::ESRCH), |status| {
                        i64::from(c::SIGKILL) - status
                    }),
                    0,
                )
            }
            Action::Charged => (self.pinned() as i64, 0),
            Action::Look => (observe::look(scratch, fd), 0),
            Action::GiveUp if matches!(call.who, Who::Child(_)) => {
                (sys::give_up(value("capability") as u32), 0)
            }
            Action::GiveUp => (-i64::from(c::EPERM), 0),
            Action::Pause => {
                std::thread::sleep(Duration::from_millis(value("milliseconds").min(1000)));
                (0, 0)
            }
            Action::Fork | Action::Ioctl(_) => (0, 0),
        };
        if let Some((index, _)) = call.of.makes().next() {
            values[index] = out;
        }
        result
    }

    /// Says what is at the beginning of a mapping of a context, and writes 0 there. Returns how many bytes could be
    /// written.
    fn touch(&self, scratch: &mut Scratch, address: u64, text: &mut String) -> i64 {
        let is_mapped = self
            .mappings
            .lock()
            .is_ok_and(|list| list.iter().any(|(at, _)| *at == address));
        // A pipe that is made must be closed: programs may guess descriptors.
        let Some((from, to)) = is_mapped.then(sys::pipe).flatten() else {
            return -i64::from(c::EINVAL);
        };
        // The kernel reads it, for which it may be no memory.
        let size = sys::write(to, address, 8);
        if let Some(at) = scratch.push(&[FILL; 8]).filter(|_| size == 8) {
            sys::read(from, at, 8);
            let _ = write!(text, " was={:#x}", get(at, 8));
        }
        sys::close(from);
        sys::close(to);
        sys::read(self.memory.files[2], address, 8)
    }

    /// Changes what is mapped in the arena, by whole pages.
    fn change_memory(&self, call: &Call, value: &dyn Fn(&str) -> u64) -> i64 {
        let start = value("address") / PAGE * PAGE;
        let end = start.saturating_add(value("length").next_multiple_of(PAGE));
        if start < ARENA || end > ARENA + ARENA_PAGES * PAGE || start >= end {
            return -i64::from(c::EINVAL);
        }
        let bit = |address: u64| (address - ARENA) / PAGE;
        let pages = (bit(start)..bit(end)).fold(0, |pages, page| pages | 1 << page);
        self.moved.fetch_or(pages, SeqCst);
        match call.of.action {
            Action::Protect => sys::mprotect(start, end - start, value("prot") as u32 & 3),
            Action::Drop => sys::drop_pages(start, end - start),
            _ => sys::munmap(start, end - start),
        }
    }
}
