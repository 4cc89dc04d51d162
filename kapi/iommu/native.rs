// SPDX-License-Identifier: GPL-2.0-only

//! What native backends read from user space: structs in the format of their vendor.

use core::marker::PhantomData;
#[cfg(any(CONFIG_ARM_SMMU_V3_IOMMUFD, CONFIG_INTEL_IOMMU))]
use core::mem::MaybeUninit;

#[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
use kernel::transmute::AsBytes;
use kernel::{
    prelude::*,
    transmute::FromBytes, //
};

#[cfg(any(CONFIG_ARM_SMMU_V3_IOMMUFD, CONFIG_INTEL_IOMMU))]
use crate::kapi::array_vec::ArrayVec;
use crate::kapi::{
    iommu::{
        domain::UserData,
        invalidate::Requests, //
    },
    mm::user::{
        UserStruct,
        MAX_SIZE, //
    },
    sync::signal, //
};

impl UserData {
    /// Reads the struct, whose first version is a `T`. Returns `EINVAL` if the data is shorter than
    /// that, `E2BIG` if it is longer than [`MAX_SIZE`] or its bytes after the `T` are not zero, and
    /// `EFAULT` if it cannot be read.
    pub(crate) fn read_longer<T: FromBytes>(self) -> Result<T> {
        if self.len < size_of::<T>() {
            return Err(EINVAL);
        }
        // The caller holds a reference to the device, so the bytes that are compared with zero must
        // be few.
        if self.len > MAX_SIZE {
            return Err(E2BIG);
        }
        let len = u32::try_from(self.len).map_err(|_| E2BIG)?;
        Ok(UserStruct::with_size(self.ptr, len).read()?)
    }
}

impl Requests {
    /// Returns a reader of the requests, which are of type `kind`; the first version of their
    /// struct is a `T`. Returns `EINVAL` if they are of another type or shorter than a `T`. The
    /// length does not matter if there are no requests.
    #[inline]
    pub(crate) fn reader<T: FromBytes>(&self, kind: u32) -> Result<RequestReader<T>> {
        let too_short = self.count != 0 && (self.entry_len as usize) < size_of::<T>();
        if self.kind != kind || too_short {
            return Err(EINVAL);
        }
        Ok(RequestReader {
            next: self.ptr,
            entry_len: self.entry_len,
            requests: PhantomData,
        })
    }
}

/// Reads [`Requests`] one after the other, each once.
///
/// Reading returns `EFAULT` if user memory cannot be read, and `E2BIG` if requests are longer than
/// a `T` and their further bytes are not zero; reading a block, `EINTR` if the current task is being
/// killed, which so ends a batch. The reader then remains where it was. If the sum of
/// an address and a length wraps, it is no address of user memory.
pub(crate) struct RequestReader<T> {
    /// The address of the next one.
    next: UserPtr,
    /// The number of bytes from one to the next, at least the size of a `T`.
    entry_len: u32,
    requests: PhantomData<T>,
}

impl<T: FromBytes> RequestReader<T> {
    /// Reads the next request.
    #[inline]
    pub(crate) fn read(&mut self) -> Result<T> {
        let request = UserStruct::with_size(self.next, self.entry_len).read()?;
        self.next = self.next.wrapping_byte_add(self.entry_len as usize);
        Ok(request)
    }
}

#[cfg(CONFIG_AMD_IOMMU_IOMMUFD)]
impl<T: FromBytes + AsBytes> RequestReader<T> {
    /// Fills `block` with the next requests. If it fails, some may have been overwritten.
    #[inline]
    pub(crate) fn read_block(&mut self, block: &mut [T]) -> Result {
        signal::check_killed()?;
        let start = self.next;
        if self.entry_len as usize == size_of::<T>() {
            let bytes = block.as_bytes_mut();
            kernel::uaccess::UserSlice::new(start, bytes.len())
                .reader()
                .read_slice(bytes)?;
            self.next = start.wrapping_byte_add(bytes.len());
            return Ok(());
        }
        for request in block {
            match self.read() {
                Ok(read) => *request = read,
                Err(error) => {
                    self.next = start;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

#[cfg(any(CONFIG_ARM_SMMU_V3_IOMMUFD, CONFIG_INTEL_IOMMU))]
impl<T: FromBytes + Copy> RequestReader<T> {
    /// Replaces the contents of `block` by the next `len` requests, or by as many as there is room
    /// for. If it fails, the block is empty.
    #[inline]
    pub(crate) fn read_vec<const N: usize>(
        &mut self,
        block: &mut ArrayVec<T, N>,
        len: usize,
    ) -> Result {
        block.clear();
        signal::check_killed()?;
        let start = self.next;
        if self.entry_len as usize == size_of::<T>() {
            let room = block.room(len);
            let (bytes, len) = (size_of_val(room), room.len());
            // SAFETY:
            // - The bytes are those of `room`, which is borrowed no longer than they are.
            // - Any bytes may be written to them, since they belong to `MaybeUninit`s.
            let room = unsafe {
                core::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<MaybeUninit<u8>>(), bytes)
            };
            kernel::uaccess::UserSlice::new(start, bytes)
                .reader()
                .read_raw(room)?;
            // SAFETY:
            // - `room` returned so many places, at most `N`, and `read_raw` has written all bytes
            //   of them.
            // - Any bytes are a `T`, which is `FromBytes`.
            unsafe { block.set_len(len) };
            self.next = start.wrapping_byte_add(bytes);
            return Ok(());
        }
        for _ in 0..len.min(N) {
            match self.read() {
                Ok(request) => {
                    block.push(request);
                }
                Err(error) => {
                    block.clear();
                    self.next = start;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
