// SPDX-License-Identifier: GPL-2.0-only

//! The functions that C code calls. Each makes references of raw pointers, calls a safe function,
//! and returns its result as an errno.

// The requirements are those of the kernel's headers, linux/iommufd.h and linux/fs.h.
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

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use kernel::module::this_module;

use crate::{
    drivers::NativeBackends,
    kapi::{
        iommu::{
            batch::find_lists,
            provider::Provider, //
        },
        mm::uncharge::Uncharger, //
    }, //
};

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
use crate::LocalModule;

/// The loaded module.
#[pin_data]
pub(crate) struct Module {
    _vfio_container: Option<Pin<KBox<file::MiscDevice>>>,
    #[pin]
    _iommu: file::MiscDevice,
    // Field order: dropped after the devices, through which contexts get there.
    shown: file::Shown,
    _uncharger: Uncharger,
    #[cfg(CONFIG_IOMMUFD_RS_TEST)]
    _mock: crate::selftests::mock::Mock,
    _native: NativeBackends,
    /// `None` if the kernel does not have the patch by which built-in drivers call this module.
    _provider: Option<Provider>,
}

impl kernel::InPlaceModule for Module {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        if !find_lists() {
            pr_info!("scattered memory is mapped page by page on this kernel\n");
        }
        try_pin_init!(Self {
            // Before a device can be opened.
            _native: NativeBackends::find(),
            _provider: Provider::register()
                .inspect_err(|_| pr_info!("no calls from built-in drivers on this kernel\n"))
                .ok(),
            #[cfg(CONFIG_IOMMUFD_RS_TEST)]
            _mock: crate::selftests::mock::Mock::register(this_module::<LocalModule>())?,
            // SAFETY:
            // - The module is loaded once.
            // - It is dropped after the devices, through which contexts get there that pin pages.
            _uncharger: unsafe { Uncharger::new()? },
            shown: file::shown(),
            _iommu <- file::MiscDevice::iommu(shown),
            _vfio_container: if cfg!(CONFIG_IOMMUFD_VFIO_CONTAINER) {
                Some(KBox::pin_init(file::MiscDevice::vfio_container(shown), GFP_KERNEL)?)
            } else {
                None
            },
        })
    }
}

/// Checks at compile time that functions have the signatures of the kernel's header.
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
