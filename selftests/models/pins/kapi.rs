// SPDX-License-Identifier: GPL-2.0-only

//! What is used of the module's `kapi/`. Files that call C are replaced.

#[path = "../../host/src/kapi/bug.rs"]
pub(crate) mod bug;
#[path = "../../../kapi/fault_injection.rs"]
pub(crate) mod fault_injection;
pub(crate) mod ledger;
pub(crate) mod mm;
#[path = "../../../kapi/reason/mod.rs"]
pub(crate) mod reason;
#[path = "../src/kapi/sync.rs"]
pub(crate) mod sync;
#[path = "../../../kapi/units.rs"]
pub(crate) mod units;

/// Memory of devices, of which there is none.
pub(crate) mod dma_buf {
    pub(crate) mod import {
        /// A dma-buf.
        pub(crate) enum DmaBuf {}

        impl DmaBuf {
            /// No file is one.
            pub(crate) fn get(_fd: i32) -> Option<Self> {
                None
            }

            /// Returns the number of bytes.
            pub(crate) fn size(&self) -> u64 {
                match *self {}
            }
        }
    }
}

/// Files with memory.
pub(crate) mod file {
    pub(crate) mod pinnable {
        use kernel::prelude::*;

        /// A file, which is its number in the ledger.
        pub(crate) struct PinnableFile(u64);

        impl PinnableFile {
            /// Returns the file whose number is the descriptor.
            pub(crate) fn get(fd: i32) -> Result<Self> {
                Ok(Self(u64::try_from(fd).map_err(|_| EBADF)?))
            }

            /// Returns the number.
            pub(crate) fn number(&self) -> u64 {
                self.0
            }
        }
    }
}

/// The arguments of commands.
pub(crate) mod uapi {
    /// `struct iommu_ioas_change_process`.
    #[derive(Default)]
    pub(crate) struct IoasChangeProcess {
        pub(crate) __reserved: u32,
    }
}
