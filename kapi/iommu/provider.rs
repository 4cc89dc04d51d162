// SPDX-License-Identifier: GPL-2.0-only

//! Receiving the calls of built-in IOMMU drivers to iommufd.
//!
//! The functions of iommufd that built-in drivers call are built-in too. On a kernel with the patch
//! series they call the registered provider: this module. On another kernel they look into the
//! private structs of the C module, so an object of this module must not be given to a driver that
//! calls them.
//!
//! C header: `include/linux/iommufd_provider.h` (added by the patch series)

use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::{
        ordering::Relaxed,
        AtomicFlag, //
    }, //
};

use crate::ffi::bindings;

static REGISTERED: AtomicFlag = AtomicFlag::new(false);

/// The registration of this module as the provider. Dropping it ends the registration.
///
/// # Invariants
///
/// The table of `abi/provider.c` is registered.
pub(crate) struct Provider(());

impl Provider {
    /// Registers the functions of `abi/provider.c`. Returns `EOPNOTSUPP` if the kernel does not
    /// have the patch series.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: The table is static, and `drop` ends the registration before the module is
        // unloaded.
        to_result(unsafe { bindings::iommufd_rs_register_provider() })?;
        REGISTERED.store(true, Relaxed);
        // INVARIANT: It was just registered.
        Ok(Self(()))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        REGISTERED.store(false, Relaxed);
        // SAFETY: By the type invariant the table is registered.
        unsafe { bindings::iommufd_rs_unregister_provider() };
    }
}

/// Returns whether this module is the provider. This does not change while a context is open.
pub(crate) fn is_registered() -> bool {
    REGISTERED.load(Relaxed)
}
