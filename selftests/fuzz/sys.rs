// SPDX-License-Identifier: GPL-2.0-only

//! The system calls that the fuzzer makes. Each returns its result or a negative errno.
//!
//! All `unsafe` code of the fuzzer is here and in `memory.rs`.

use std::ffi::CString;

/// What bindgen makes of `c.h`.
#[allow(
    dead_code,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals
)]
pub(crate) mod c {
    include!(env!("FUZZ_C"));
}

fn result(value: i64) -> i64 {
    if value >= 0 {
        return value;
    }
    // SAFETY: glibc returns a pointer to the thread's own errno, which lives as long as the thread.
    -i64::from(unsafe { *c::__errno_location() })
}

/// Opens a file.
pub(crate) fn open(path: &str, flags: u32) -> i64 {
    let path = CString::new(path).unwrap_or_default();
    // SAFETY: `path` ends with a null byte and lives until after the call.
    result(unsafe { c::open(path.as_ptr(), flags as i32) }.into())
}

pub(crate) fn close(fd: i64) -> i64 {
    // SAFETY: no memory is involved. Rust's own files are not among the descriptors that programs
    // get.
    result(unsafe { c::close(fd as i32) }.into())
}

/// Makes the descriptor `to` another one for the file of `fd`. What `to` was is closed.
pub(crate) fn duplicate_to(fd: i64, to: i64) -> i64 {
    // SAFETY: no memory is involved. Callers name descriptors that are theirs.
    result(unsafe { c::dup2(fd as i32, to as i32) }.into())
}

/// Calls ioctl() with a number or an address. What the kernel writes there is in the memory of
/// `memory.rs`, to which no Rust reference exists meanwhile.
pub(crate) fn ioctl(fd: i64, request: u64, argument: u64) -> i64 {
    // SAFETY: the kernel checks descriptor, request and argument. The only memory that it may write
    // is that of the arena and the scratch memory, which Rust reads and writes by raw pointers.
    result(unsafe { c::ioctl(fd as i32, request, argument) }.into())
}

/// Reads into memory at an address, with the same promise as `ioctl`.
pub(crate) fn read(fd: i64, address: u64, count: u64) -> i64 {
    // SAFETY: the kernel writes at most `count` bytes to memory that is used by raw pointers only, or to
    // the byte that `receive` owns.
    result(unsafe { c::read(fd as i32, address as *mut _, count as usize) } as i64)
}

/// Writes what is at an address.
pub(crate) fn write(fd: i64, address: u64, count: u64) -> i64 {
    // SAFETY: write() only reads the memory, and the kernel checks the address.
    result(unsafe { c::write(fd as i32, address as *const _, count as usize) } as i64)
}

/// Reads a file from its beginning without moving its offset.
pub(crate) fn read_text(fd: i64) -> String {
    let mut buffer = [0_u8; 4096];
    // SAFETY: the kernel writes at most `buffer.len()` bytes to `buffer`.
    let n =
        result(unsafe { c::pread(fd as i32, buffer.as_mut_ptr().cast(), buffer.len(), 0) } as i64);
    String::from_utf8_lossy(&buffer[..n.max(0) as usize]).into_owned()
}

/// Writes text to a file at its beginning.
pub(crate) fn write_text(fd: i64, text: &str) -> i64 {
    // SAFETY: the kernel reads `text.len()` bytes of `text`.
    result(unsafe { c::pwrite(fd as i32, text.as_ptr().cast(), text.len(), 0) } as i64)
}

/// Writes bytes to a place of a file.
pub(crate) fn write_at(fd: i64, bytes: &[u8], offset: u64) -> i64 {
    // SAFETY: the kernel reads `bytes.len()` bytes of `bytes`.
    result(
        unsafe { c::pwrite(fd as i32, bytes.as_ptr().cast(), bytes.len(), offset as i64) } as i64,
    )
}

/// Returns the events among `POLLIN | POLLOUT` that a descriptor has, without waiting.
pub(crate) fn poll(fd: i64) -> i64 {
    let mut poll = c::pollfd {
        fd: fd as i32,
        events: (c::POLLIN | c::POLLOUT) as i16,
        revents: 0,
    };
    // SAFETY: the kernel reads and writes the one `pollfd`, which lives until after the call.
    let r = result(unsafe { c::poll(&mut poll, 1, 0) }.into());
    if r < 0 {
        r
    } else {
        poll.revents.into()
    }
}

/// Makes a file in memory.
pub(crate) fn memfd(name: &str, flags: u32) -> i64 {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: `name` ends with a null byte and lives until after the call.
    result(unsafe { c::memfd_create(name.as_ptr(), flags) }.into())
}

pub(crate) fn truncate(fd: i64, length: u64) -> i64 {
    // SAFETY: no memory is involved.
    result(unsafe { c::ftruncate(fd as i32, length as i64) }.into())
}

/// Maps memory, with `MAP_FIXED` if the address is not 0.
///
/// The address must be 0 or within the arena or scratch memory of `memory.rs`.
pub(crate) fn mmap(address: u64, length: u64, prot: u32, flags: u32, fd: i64, offset: u64) -> i64 {
    let fixed = if address == 0 { 0 } else { c::MAP_FIXED };
    // SAFETY: with `MAP_FIXED` only memory is replaced that belongs to `memory.rs`, which nobody
    // refers to. Else the kernel takes free addresses.
    result(unsafe {
        c::mmap(
            address as *mut _,
            length as usize,
            prot as i32,
            (flags | fixed) as i32,
            fd as i32,
            offset as i64,
        )
    } as i64)
}

/// Unmaps memory that `mmap` mapped.
pub(crate) fn munmap(address: u64, length: u64) -> i64 {
    // SAFETY: callers pass addresses of the arena or those that mmap() returned.
    result(unsafe { c::munmap(address as *mut _, length as usize) }.into())
}

pub(crate) fn mprotect(address: u64, length: u64, prot: u32) -> i64 {
    // SAFETY: callers pass addresses of the arena, which is read and written by raw pointers only
    // where it has the permissions for it.
    result(unsafe { c::mprotect(address as *mut _, length as usize, prot as i32) }.into())
}

/// Drops the pages of anonymous memory.
pub(crate) fn drop_pages(address: u64, length: u64) -> i64 {
    // SAFETY: callers pass memory of `memory.rs` whose content may become zero at any time.
    result(
        unsafe { c::madvise(address as *mut _, length as usize, c::MADV_DONTNEED as i32) }.into(),
    )
}

/// Forks. The caller must be the only thread.
pub(crate) fn fork() -> i64 {
    // SAFETY: the fuzzer forks only while it has one thread, so that no lock is held by another
    // one.
    result(unsafe { c::fork() }.into())
}

/// Ends the process at once.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: _exit() runs no code of this process.
    unsafe { c::_exit(status) }
}

/// Kills a child and waits for its end. Returns the status as waitpid() does.
pub(crate) fn kill(pid: i64) -> i64 {
    // SAFETY: no memory is involved, and the child is not waited for elsewhere.
    unsafe { c::kill(pid as i32, c::SIGKILL as i32) };
    wait(pid)
}

/// Waits for a child's end. Returns the status as waitpid() does.
pub(crate) fn wait(pid: i64) -> i64 {
    let mut status = 0;
    // SAFETY: the kernel writes the status, which lives until after the call.
    let r = result(unsafe { c::waitpid(pid as i32, &mut status, 0) }.into());
    if r < 0 {
        r
    } else {
        status.into()
    }
}

/// Makes a pipe: the end to read, and the end to write.
pub(crate) fn pipe() -> Option<(i64, i64)> {
    let mut fds = [0; 2];
    // SAFETY: the kernel writes two descriptors.
    let r = result(unsafe { c::pipe(fds.as_mut_ptr()) }.into());
    (r == 0).then_some((fds[0].into(), fds[1].into()))
}

/// Writes one byte to a pipe.
pub(crate) fn send(fd: i64, byte: u8) -> bool {
    write(fd, (&raw const byte) as u64, 1) == 1
}

/// Reads one byte from a pipe, or nothing at its end.
pub(crate) fn receive(fd: i64) -> Option<u8> {
    let mut byte = 0_u8;
    (read(fd, (&raw mut byte) as u64, 1) == 1).then_some(byte)
}

/// Sets the soft limit of locked memory, in bytes.
pub(crate) fn limit_locked(bytes: u64) -> i64 {
    let limit = c::rlimit {
        rlim_cur: bytes,
        rlim_max: u64::MAX,
    };
    // SAFETY: the kernel reads the limit, which lives until after the call.
    result(unsafe { c::setrlimit(c::__RLIMIT_MEMLOCK, &limit) }.into())
}

/// Gives up a capability for ever.
pub(crate) fn give_up(capability: u32) -> i64 {
    let Some(bit) = 1_u32.checked_shl(capability) else {
        return -i64::from(c::EINVAL);
    };
    let mut header = c::__user_cap_header_struct {
        version: c::_LINUX_CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut sets = [c::__user_cap_data_struct::default(); c::_LINUX_CAPABILITY_U32S_3 as usize];
    // SAFETY: version 3 has two sets, which live until after the calls.
    let r = result(unsafe { c::syscall(c::__NR_capget.into(), &mut header, sets.as_mut_ptr()) });
    if r < 0 {
        return r;
    }
    sets[0].effective &= !bit;
    sets[0].permitted &= !bit;
    // SAFETY: version 3 has two sets, which live until after the call.
    result(unsafe { c::syscall(c::__NR_capset.into(), &mut header, sets.as_mut_ptr()) })
}

/// Makes another user the real one for ever, to whom memory is charged, and keeps all capabilities. The effective
/// one remains root, who alone may have the kernel add up its counters of pins.
pub(crate) fn become_user(user: u64) -> i64 {
    // SAFETY: no memory is involved.
    let r = result(unsafe {
        c::syscall(
            c::__NR_prctl.into(),
            c::PR_SET_SECUREBITS as u64,
            c::SECBIT_KEEP as u64,
            0_u64,
            0_u64,
            0_u64,
        )
    });
    if r < 0 {
        return r;
    }
    // SAFETY: no memory is involved.
    result(unsafe { c::syscall(c::__NR_setresuid.into(), user, u64::MAX, u64::MAX) })
}

/// Loads a module from its file.
pub(crate) fn load_module(file: i64) -> i64 {
    // SAFETY: the kernel reads the empty string of parameters.
    result(unsafe { c::syscall(c::__NR_finit_module.into(), file, c"".as_ptr(), 0) })
}

/// Unloads a module, unless it is in use.
pub(crate) fn unload_module(name: &str) -> i64 {
    let name = CString::new(name).unwrap_or_default();
    // SAFETY: `name` ends with a null byte and lives until after the call.
    result(unsafe { c::syscall(c::__NR_delete_module.into(), name.as_ptr(), c::O_NONBLOCK) })
}

/// Opens what is closed of the descriptors below a number. Returns nothing if more are open, or cannot be.
pub(crate) fn occupy_below(floor: i64) -> Option<()> {
    let mut next = open("/dev/null", c::O_RDONLY);
    while (0..floor).contains(&next) {
        next = open("/dev/null", c::O_RDONLY);
    }
    close(next);
    (next == floor).then_some(())
}

/// Closes all descriptors from that one on.
pub(crate) fn close_from(fd: i64) {
    // SAFETY: no memory is involved. Files of Rust's own are open below that descriptor only.
    unsafe { c::close_range(fd as u32, u32::MAX, 0) };
}
