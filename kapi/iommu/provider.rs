// SPDX-License-Identifier: GPL-2.0-only

//! Whether the calls that built-in IOMMU drivers make to iommufd reach this module.
//!
//! They do on a kernel with our patch series. On another the functions that those drivers call look
//! into the C module's private structs, so nothing of ours may be given to a driver that calls
//! them.
//!
//! C header: `include/linux/iommufd_provider.h`.

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

/// That calls of drivers come here, until it is dropped.
pub(crate) struct Provider(());

impl Provider {
    /// Has the calls of drivers come to the functions of `abi/provider.c`. `EOPNOTSUPP` where the
    /// kernel knows no providers, `EBUSY` where there is another.
    pub(crate) fn register() -> Result<Self> {
        // SAFETY: The table is static, and the module is loaded until `Drop` takes it back.
        to_result(unsafe { bindings::iommufd_rs_register_provider() })?;
        REGISTERED.store(true, Relaxed);
        Ok(Self(()))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        REGISTERED.store(false, Relaxed);
        // SAFETY: It is registered: a `Provider` comes of `register` alone.
        unsafe { bindings::iommufd_rs_unregister_provider() };
    }
}

/// Whether calls of built-in drivers come here. It does not change while a context is open.
pub(crate) fn is_registered() -> bool {
    REGISTERED.load(Relaxed)
}
