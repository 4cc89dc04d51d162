// SPDX-License-Identifier: GPL-2.0-only

//! Reading the driver-specific data that a user gives with a request.

use kernel::{
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    }, //
};

use crate::{
    ffi::bindings,
    kapi::{
        iommu::domain::UserData,
        mm::user::UserStruct, //
    }, //
};

impl UserData {
    pub(super) fn from_raw(raw: &bindings::iommu_user_data) -> Self {
        Self {
            kind: raw.type_,
            ptr: UserPtr::from_ptr(raw.uptr),
            len: raw.len,
        }
    }

    /// Reads the struct, whose type is `kind` and whose first version had `min_len` bytes. What an
    /// older program leaves out is zero. `EINVAL` for another type and for less than the first
    /// version, `E2BIG` where a newer program says more than we understand, `EFAULT`.
    pub(crate) fn read<T: FromBytes>(&self, kind: u32, min_len: usize) -> Result<T> {
        if self.kind != kind || self.len < min_len {
            return Err(EINVAL);
        }
        let len = u32::try_from(self.len).map_err(|_| E2BIG)?;
        UserStruct::with_size(self.ptr, len).read()
    }

    /// Writes the struct back, as much of it as there is room for. `EFAULT`.
    pub(crate) fn write<T: AsBytes>(&self, value: &T) -> Result {
        let len = u32::try_from(self.len).map_err(|_| E2BIG)?;
        UserStruct::with_size(self.ptr, len).write(value)
    }
}
