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

    /// Reads the struct, whose type is `kind` and whose first version had `min_len` bytes. Fields
    /// that an older program does not have are zero.
    ///
    /// As `iommu_copy_struct_from_user()`: returns `EINVAL` for another type, and if there are
    /// fewer bytes than the first version had or more than `T` has. Returns `EFAULT` if they cannot
    /// be read.
    pub(crate) fn read<T: FromBytes>(&self, kind: u32, min_len: usize) -> Result<T> {
        if self.kind != kind || !(min_len..=size_of::<T>()).contains(&self.len) {
            return Err(EINVAL);
        }
        let len = u32::try_from(self.len).map_err(|_| EINVAL)?;
        Ok(UserStruct::with_size(self.ptr, len).read()?)
    }

    /// Writes the struct back, as many bytes of it as were read. Returns `EFAULT` if they cannot be
    /// written.
    pub(crate) fn write<T: AsBytes>(&self, value: &T) -> Result {
        let len = u32::try_from(self.len).map_err(|_| E2BIG)?;
        Ok(UserStruct::with_size(self.ptr, len).write(value)?)
    }
}
