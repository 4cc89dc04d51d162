// SPDX-License-Identifier: GPL-2.0-only

//! Tracepoints, in the group `iommufd_rs`.
//!
//! An event is a struct with the fields that `ffi/tracepoints.h` records. [`emit`] makes it only if
//! somebody reads the tracepoint; until then a call costs a no-op that the kernel replaces by a jump
//! (on kernels without `CONFIG_JUMP_LABEL` it reads a counter). Takes no locks and does not sleep,
//! so a tracepoint may be hit anywhere. Without `CONFIG_IOMMUFD_RS_TRACEPOINTS` a call costs nothing.
//!
//! The kernel crate's `declare_trace!` is for tracepoints in the crate's own bindings.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use kernel::prelude::*;

#[cfg(CONFIG_IOMMUFD_RS_TRACEPOINTS)]
use crate::ffi::bindings;

/// Something that a tracepoint records.
pub(crate) trait Event: Sized {
    /// Returns whether somebody reads the tracepoint.
    fn is_read() -> bool;

    /// Records the event.
    fn record(self);
}

/// Records what `event` returns, if somebody reads the tracepoint.
#[inline(always)]
pub(crate) fn emit<E: Event>(event: impl FnOnce() -> E) {
    if E::is_read() {
        event().record();
    }
}

/// Returns a result as the negative errno that tracepoints record, 0 for success.
#[inline]
pub(crate) fn errno<T, E: Copy + Into<Error>>(result: &Result<T, E>) -> c_int {
    match result {
        Ok(_) => 0,
        Err(error) => (*error).into().to_errno(),
    }
}

/// Declares the events. `Name => name` is recorded by the tracepoint `name`, with the fields in
/// this order.
macro_rules! events {
    ($(
        $(#[$attr:meta])*
        $name:ident => $point:ident {
            $( $(#[$field_attr:meta])* $field:ident: $type:ty, )*
        }
    )*) => { $(
        $(#[$attr])*
        #[cfg_attr(not(CONFIG_IOMMUFD_RS_TRACEPOINTS), allow(dead_code))]
        pub(crate) struct $name {
            $( $(#[$field_attr])* pub(crate) $field: $type, )*
        }

        impl Event for $name {
            #[inline(always)]
            fn is_read() -> bool {
                #[cfg(CONFIG_IOMMUFD_RS_TRACEPOINTS)]
                kernel::macros::paste! {
                    // SAFETY: `ffi/tracepoints.c` defines the tracepoint, in which there is a key.
                    return unsafe {
                        kernel::jump_label::static_branch_unlikely!(
                            bindings::[<__tracepoint_ $point>],
                            bindings::tracepoint,
                            key
                        )
                    };
                }
                #[cfg(not(CONFIG_IOMMUFD_RS_TRACEPOINTS))]
                false
            }

            #[cold]
            fn record(self) {
                #[cfg(CONFIG_IOMMUFD_RS_TRACEPOINTS)]
                kernel::macros::paste! {
                    // SAFETY: The arguments are numbers, and strings that are static.
                    unsafe {
                        bindings::[<rust_do_trace_ $point>](
                            $( Argument::of(self.$field), )*
                        )
                    };
                }
            }
        }
    )* };
}

/// A field as C takes it.
#[cfg(CONFIG_IOMMUFD_RS_TRACEPOINTS)]
trait Argument<T> {
    fn of(self) -> T;
}

#[cfg(CONFIG_IOMMUFD_RS_TRACEPOINTS)]
impl<T> Argument<T> for T {
    fn of(self) -> T {
        self
    }
}

#[cfg(CONFIG_IOMMUFD_RS_TRACEPOINTS)]
impl Argument<*const c_char> for &'static CStr {
    fn of(self) -> *const c_char {
        self.as_char_ptr()
    }
}

events! {
    /// A range of an address space was mapped, or not for `error`.
    Map => iommufd_map {
        /// The number of the context, here and below.
        context: u64,
        ioas: u32,
        /// The address that was chosen, or that was asked for if mapping has failed.
        iova: u64,
        length: u64,
        /// The file in whose memory it is, or -1 for memory of the task.
        fd: i32,
        /// The address in the task's memory, or the byte of the file.
        start: u64,
        /// Those of the command.
        flags: u32,
        /// From [`errno`], here and below.
        error: c_int,
    }

    /// A range of an address space was unmapped, or `unmapped` bytes of it if `error` is not 0.
    Unmap => iommufd_unmap {
        context: u64,
        ioas: u32,
        iova: u64,
        length: u64,
        unmapped: u64,
        error: c_int,
    }

    /// What is mapped in one address space was mapped in another too, or not for `error`.
    Copied => iommufd_copy {
        context: u64,
        src_ioas: u32,
        src_iova: u64,
        dst_ioas: u32,
        /// As [`Map::iova`].
        dst_iova: u64,
        length: u64,
        flags: u32,
        error: c_int,
    }

    /// A run of contiguous pages was pinned.
    Pin => iommufd_pin {
        pfn: u64,
        npages: u64,
        writable: bool,
    }

    /// A run of contiguous pages was unpinned.
    Unpin => iommufd_unpin {
        pfn: u64,
        npages: u64,
        writable: bool,
    }

    /// A device, or one of its PASIDs, was attached, or not for `error`.
    Attach => iommufd_attach {
        context: u64,
        device: u32,
        /// 0 for DMA without a PASID.
        pasid: u32,
        /// The address space or page tables that were asked for.
        target: u32,
        /// The page tables to which it is attached now. 0 on failure.
        hwpt: u32,
        error: c_int,
    }

    /// As [`Attach`], in place of other page tables.
    Replace => iommufd_replace {
        context: u64,
        device: u32,
        pasid: u32,
        target: u32,
        hwpt: u32,
        error: c_int,
    }

    /// A device, or one of its PASIDs, was detached.
    Detach => iommufd_detach {
        context: u64,
        device: u32,
        pasid: u32,
    }

    /// `asked` invalidation requests were carried out, or the first `done` of them if `error` is
    /// not 0.
    Invalidate => iommufd_invalidate {
        context: u64,
        /// The vIOMMU or the nested page tables.
        object: u32,
        /// The type of the requests.
        kind: u32,
        asked: u32,
        done: u32,
        /// How many times the IOMMU was given commands, or -1 if its kernel driver did that, which
        /// does not tell.
        submissions: c_int,
        error: c_int,
    }

    /// A device reported a page fault.
    Fault => iommufd_fault {
        context: u64,
        queue: u32,
        device: u32,
        pasid: u32,
        /// The device's number for the group of faults.
        group: u32,
        /// As in `struct iommu_hwpt_pgfault`.
        perm: u32,
        addr: u64,
    }

    /// User space answered a group of page faults.
    FaultAnswer => iommufd_fault_answer {
        context: u64,
        queue: u32,
        device: u32,
        cookie: u32,
        /// The number of faults in the group.
        faults: u32,
        /// As in `struct iommu_hwpt_page_response`.
        code: u32,
    }

    /// A driver reported an event of a vIOMMU, which was lost if `error` is not 0.
    Vevent => iommufd_vevent {
        context: u64,
        viommu: u32,
        kind: u32,
        /// The number of the event in its queue.
        number: u64,
        /// The number of its bytes.
        length: u64,
        error: c_int,
    }

    /// An object was made. It is destroyed at once if the call that made it fails after that.
    Made => iommufd_made {
        context: u64,
        id: u32,
        kind: &'static CStr,
    }

    /// An object is being destroyed.
    Destroyed => iommufd_destroyed {
        context: u64,
        id: u32,
        kind: &'static CStr,
    }

    /// A call was refused.
    Refused => iommufd_refused {
        context: u64,
        /// The name of the ioctl, or of what a driver or user space has asked for otherwise.
        command: &'static CStr,
        error: c_int,
        /// The code of the [`Reason`](crate::kapi::reason::Reason).
        code: u32,
        /// Its name.
        reason: &'static CStr,
        /// The number that it is about.
        number: u64,
    }
}
