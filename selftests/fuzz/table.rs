// SPDX-License-Identifier: GPL-2.0-only

//! The description of the user API: what calls there are, what fields their structs have, and what
//! each field means. Calls are made, changed, printed, read and compared by it. Offsets, sizes and
//! numbers are those of the kernel's headers.

/// What a call makes, and another one uses by an id or a file descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Res {
    Context,
    Ioas,
    Hwpt,
    Device,
    /// A mock device. Its ids are others than that of the device that is bound.
    Mock,
    AccessFd,
    AccessPages,
    Fault,
    FaultFd,
    Cookie,
    Viommu,
    Vdevice,
    Veventq,
    VeventqFd,
    HwQueue,
    DmaBuf,
    /// The file of a device of VFIO.
    Vfio,
    /// The file of a group of VFIO.
    Group,
    Child,
    /// An address that mmap() returned.
    Mapping,
}

/// A number of the headers with its name.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: &'static str,
    pub(crate) value: u64,
}

/// Numbers of the headers, by their names.
macro_rules! set {
    ($($name:ident),* $(,)?) => {
        &[$(Named { name: stringify!($name), value: c::$name as u64 }),*]
    };
}

/// What a field means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The size of the struct.
    Size,
    /// Reserved: 0.
    Zero,
    /// Any combination of these bits.
    Flags(&'static [Named]),
    /// One of these numbers.
    Choice(&'static [Named]),
    /// Any number; these are of interest.
    Number(&'static [u64]),
    /// Chosen by the call's type.
    Fixed(&'static [Named]),
    /// The id of one of these, or a file descriptor.
    Id(&'static [Res]),
    Fd(&'static [Res]),
    /// The number of one of the files of `memory.rs`, or a descriptor of a resource.
    File,
    /// What the call makes.
    OutId(Res),
    OutFd(Res),
    /// A number that the kernel writes.
    Result,
    /// An id that the kernel writes, of something that another call made.
    Echo,
    /// An I/O address, in some calls both given and returned.
    Iova,
    /// A number of bytes of I/O addresses or memory.
    Length,
    /// An address in the arena.
    Memory,
    /// The address of an array of such structs. The field with this name is their number.
    Array(&'static [&'static Layout], &'static str),
    /// The address of a buffer, whose size in bytes the field with this name is.
    Buffer(&'static str),
    /// The number of elements, or the size, of what another field points to.
    Count,
    /// The address of a bitmap, for which the fields `length` and `page_size` are.
    Bitmap,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) offset: usize,
    pub(crate) size: usize,
    pub(crate) kind: Kind,
}

/// A struct.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) fields: &'static [Field],
}

/// How a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// ioctl() on the first field, with the address of the struct.
    Ioctl(u64),
    /// ioctl() with the field `argument` itself.
    Direct(u64),
    Open,
    OpenDevice,
    OpenGroup,
    /// VFIO_GROUP_GET_DEVICE_FD, of the device of `OpenDevice`.
    GroupDevice,
    Close,
    Poll,
    ReadFaults,
    ReadEvents,
    Respond,
    MapContext,
    UnmapContext,
    Touch,
    Poke,
    Protect,
    Drop,
    Unmap,
    Fork,
    Kill,
    Limit,
    Look,
    Charged,
    Pause,
    GiveUp,
}

/// A type of call.
#[derive(Debug)]
pub(crate) struct CallType {
    pub(crate) name: &'static str,
    /// The name of the ioctl's number in the headers, or nothing.
    pub(crate) command: &'static str,
    pub(crate) action: Action,
    pub(crate) layout: &'static Layout,
    /// How often it is made, relative to others.
    pub(crate) weight: u32,
}

/// The name of the first field of calls that have a file descriptor; it is not part of the struct.
pub(crate) const FD: &str = "context";

impl CallType {
    /// Returns the index of a field, which is that of its value.
    pub(crate) fn field(&self, name: &str) -> Option<usize> {
        self.layout
            .fields
            .iter()
            .position(|field| field.name == name)
    }

    /// Returns what the call makes.
    pub(crate) fn makes(&self) -> impl Iterator<Item = (usize, Res)> + '_ {
        self.layout
            .fields
            .iter()
            .enumerate()
            .filter_map(|(index, field)| match field.kind {
                Kind::OutId(res) | Kind::OutFd(res) => Some((index, res)),
                _ => None,
            })
    }
}

impl Kind {
    /// Whether the kernel's answer is compared as a number.
    pub(crate) fn is_compared(&self) -> bool {
        !matches!(
            self,
            Self::Id(_)
                | Self::Fd(_)
                | Self::File
                | Self::OutFd(_)
                | Self::OutId(_)
                | Self::Memory
                | Self::Array(..)
                | Self::Buffer(_)
                | Self::Bitmap
                | Self::Fixed(_)
        )
    }
}

/// Returns the size of a field.
pub(crate) const fn size_of_field<T, F>(_: fn(*const T) -> *const F) -> usize {
    size_of::<F>()
}

/// Returns a name without what it begins with in `c.h`.
pub(crate) const fn command_name(name: &'static str) -> &'static str {
    match std::str::from_utf8(name.as_bytes().split_at("NR_".len()).1) {
        Ok(name) => name,
        Err(_) => name,
    }
}

/// Returns the name that follows the last dot. An `id` within the union of a struct that has one
/// itself is called `number`.
pub(crate) const fn last_name(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut start = bytes.len();
    while start > 0 && bytes[start - 1] != b'.' && bytes[start - 1] != b' ' {
        start -= 1;
    }
    match bytes.split_at(start).1 {
        b"id" if start > 0 => "number",
        name => match std::str::from_utf8(name) {
            Ok(name) => name,
            Err(_) => path,
        },
    }
}

/// A struct of C: its fields and what they mean. `union` is the anonymous union of some structs.
macro_rules! layout {
    ($type:ident [$($extra:expr),*] { $($($part:ident).+: $kind:expr),* $(,)? }) => {
        &Layout {
            name: stringify!($type),
            size: size_of::<c::$type>(),
            fields: &[
                $($extra,)*
                $(Field {
                    name: last_name(stringify!($($part).+)),
                    offset: std::mem::offset_of!(c::$type, $($part).+),
                    size: size_of_field::<c::$type, _>(
                        // SAFETY: the address of a field is computed, of an object that is not
                        // read.
                        |of| unsafe { &raw const (*of).$($part).+ },
                    ),
                    kind: $kind,
                },)*
            ],
        }
    };
    ($type:ident { $($rest:tt)* }) => { layout!($type [] { $($rest)* }) };
}

/// A field that no struct has: the call's own argument.
pub(crate) const fn argument(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        offset: 0,
        size: 0,
        kind,
    }
}

pub(crate) use layout;
pub(crate) use set;

/// All types of calls.
pub(crate) fn calls() -> impl Iterator<Item = &'static CallType> {
    crate::calls::CALLS
        .iter()
        .chain(crate::calls_test::CALLS)
        .chain(crate::calls_other::CALLS)
}

/// Returns the type of that name.
pub(crate) fn find(name: &str) -> Option<&'static CallType> {
    calls().find(|call| call.name == name)
}
