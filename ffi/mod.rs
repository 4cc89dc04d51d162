// SPDX-License-Identifier: GPL-2.0-only

//! Bindings to C: the kernel crate's own, and beside them what it lacks.
//!
//! Nothing else lives here, and only `abi/` and `kapi/` may name it.

pub(crate) mod bindings {
    #![allow(
        clippy::all,
        clippy::undocumented_unsafe_blocks,
        dead_code,
        missing_docs,
        non_camel_case_types,
        non_upper_case_globals,
        non_snake_case,
        unsafe_op_in_unsafe_fn,
        unreachable_pub,
        improper_ctypes,
        clippy::ptr_as_ptr,
        clippy::ref_as_ptr,
        clippy::cast_lossless
    )]

    #[allow(unused_imports)]
    pub(crate) use kernel::bindings::*;
    #[allow(unused_imports)]
    use kernel::ffi;
    #[allow(unused_imports)]
    use pin_init::MaybeZeroable;

    include!(concat!(
        env!("IOMMUFD_RS_OBJ"),
        "/ffi/bindings_generated.rs"
    ));
}
