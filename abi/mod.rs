// SPDX-License-Identifier: GPL-2.0-only

//! The doors: what C code calls. Each is a few lines that make a typed reference of a raw pointer,
//! call one safe function, and turn its result into an errno.

// What callers must do is said in the kernel's headers, linux/iommufd.h and linux/fs.h.
#![expect(clippy::missing_safety_doc)]

mod access;
mod compat;
mod contracts;
mod ctx;
mod device;
mod file;
mod msi;
mod viommu;

use kernel::prelude::*;

use crate::{
    drivers::NativeBackends,
    kapi::iommu::provider::Provider, //
};

/// The loaded module.
#[pin_data]
pub(crate) struct Module {
    _vfio_container: Option<Pin<KBox<file::MiscDevice>>>,
    #[pin]
    _iommu: file::MiscDevice,
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    _mock: crate::selftests::mock::Mock,
    _native: NativeBackends,
    /// `None` where the kernel cannot have drivers call us.
    _provider: Option<Provider>,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // Before anybody can open the device.
            _native: NativeBackends::find(),
            _provider: Provider::register()
                .inspect_err(|_| pr_info!("no calls from built-in drivers on this kernel\n"))
                .ok(),
            #[cfg(CONFIG_IOMMUFD_RS_TEST)]
            _mock: crate::selftests::mock::Mock::register(module)?,
            _iommu <- file::MiscDevice::iommu(module),
            _vfio_container: if cfg!(CONFIG_IOMMUFD_VFIO_CONTAINER) {
                Some(KBox::pin_init(file::MiscDevice::vfio_container(), GFP_KERNEL)?)
            } else {
                None
            },
        })
    }
}

/// The errno of a result, 0 for success.
fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// Checks a door's signature against the kernel's header.
macro_rules! same_signature {
    ($($name:ident),* $(,)?) => { $(
        const _: () = {
            if true {
                crate::ffi::bindings::$name
            } else {
                $name
            };
        };
    )* };
}
use same_signature;
