// SPDX-License-Identifier: GPL-2.0-only

//! Reads back what calls wrote, and says it as text.

use std::fmt::Write;

use crate::{
    calls_other::{
        EVENT,
        EVENT_HEADER,
        FAULT, //
    },
    memory::{
        get,
        Scratch,
        PAGE, //
    },
    program::{
        Call,
        Value, //
    },
    sys::c,
    table::{
        Field,
        Kind,
        Layout, //
    },
};

/// Reads back an array. Appends the values of the first element of each layout, in their order.
pub(crate) fn array(
    layouts: &[&'static Layout],
    address: u64,
    value: &Value,
    echo: &dyn Fn(Kind, u64) -> String,
    text: &mut String,
    left: &mut Vec<u64>,
) {
    let elements: &[_] = match value {
        Value::Array(elements) if address != 0 => elements,
        _ => &[],
    };
    let mut at = address;
    let mut places = Vec::new();
    for element in elements {
        for (field, before) in element.layout.fields.iter().zip(&element.values) {
            let after = get(at + field.offset as u64, field.size);
            let before = match before {
                Value::Number(number) => number & mask(field),
                // What was referred to is not kept. Nothing that is referred to is written.
                _ => after,
            };
            tell(field, 0, before, after, echo, text);
        }
        places.push((element.layout, at));
        at += element.layout.size as u64;
    }
    for layout in layouts {
        let place = places.iter().find(|(of, _)| *of == *layout);
        left.extend(layout.fields.iter().map(|field| match place {
            Some((_, at)) => get(at + field.offset as u64, field.size),
            None => 0,
        }));
    }
}

/// Writes what became of a field, if it changed.
pub(crate) fn tell(
    field: &Field,
    result: i64,
    before: u64,
    after: u64,
    echo: &dyn Fn(Kind, u64) -> String,
    text: &mut String,
) {
    let name = field.name;
    let _ = match field.kind {
        Kind::OutFd(_) if result >= 0 && after != 0 => write!(text, " {name}=+"),
        Kind::OutId(_) if result >= 0 && after != 0 => {
            write!(text, " {name}={}", echo(field.kind, after))
        }
        Kind::Id(_) if before != after => write!(text, " {name}={}", echo(field.kind, after)),
        Kind::Echo => write!(text, " {name}={}", echo(field.kind, after)),
        kind if kind.is_compared() && before != after => write!(text, " {name}={after:#x}"),
        _ => Ok(()),
    };
}

/// Reads a fault queue by read(). The values get the cookies.
pub(crate) fn read_faults(
    call: &Call,
    read: &dyn Fn(i64, u64, u64) -> i64,
    echo: &dyn Fn(Kind, u64) -> String,
    scratch: &mut Scratch,
    values: &mut [u64],
    text: &mut String,
) -> i64 {
    let length = values[1].min(PAGE);
    let Some(at) = scratch.push(&vec![FILL; length as usize]) else {
        return 0;
    };
    let target = scratch.target(call.place, at);
    let result = read(values[0] as i64, target, length);
    let faults = result.max(0) as u64 / FAULT.size as u64;
    let cookies: Vec<usize> = call.of.makes().map(|(index, _)| index).collect();
    for number in 0..faults {
        for field in FAULT.fields {
            let got = get(
                at + number * FAULT.size as u64 + field.offset as u64,
                field.size,
            );
            // A cookie may be any number, 0 as well: only that there is one is said.
            if let Kind::OutId(_) = field.kind {
                let _ = write!(text, " {}=+", field.name);
                if let Some(&index) = cookies.get(number as usize) {
                    values[index] = got;
                }
            } else {
                tell(field, 0, 0, got, echo, text);
            }
        }
    }
    result
}

/// Writes the events that a queue of a vIOMMU gave, of which so many bytes are at that address.
pub(crate) fn events(address: u64, length: u64, text: &mut String) {
    let mut at = 0;
    let mut fields = |layout: &Layout| {
        let size = layout.size as u64;
        if length - at < size {
            return None;
        }
        let mut flags = 0;
        for field in layout.fields {
            let got = get(address + at + field.offset as u64, field.size);
            let _ = write!(text, " {}={got:#x}", field.name);
            if field.name == "flags" {
                flags = got;
            }
        }
        at += size;
        Some(flags)
    };
    while let Some(flags) = fields(EVENT_HEADER) {
        // That events were lost is said by a header alone.
        if flags & u64::from(c::IOMMU_VEVENTQ_FLAG_LOST_EVENTS) == 0 {
            fields(EVENT);
        }
    }
    for byte in at..length {
        let _ = write!(text, " {:02x}", get(address + byte, 1));
    }
}

/// A descriptor that does not exist.
pub(crate) const NO_FD: u64 = u32::MAX as u64;
/// What is in buffers before the kernel writes to them.
pub(crate) const FILL: u8 = 0xa5;

pub(crate) fn mask(field: &Field) -> u64 {
    match field.size {
        1..=7 => (1 << (8 * field.size)) - 1,
        _ => u64::MAX,
    }
}

/// Writes values to the bytes of a struct.
pub(crate) fn store(layout: &Layout, values: &[u64], bytes: &mut [u8]) {
    for (field, value) in layout.fields.iter().zip(values) {
        bytes[field.offset..field.offset + field.size]
            .copy_from_slice(&value.to_le_bytes()[..field.size]);
    }
}

/// Returns a number that is not negative, or the name of the errno.
pub(crate) fn result_name(result: i64) -> String {
    const NAMES: &[(u32, &str)] = &[
        (c::EPERM, "EPERM"),
        (c::ENOENT, "ENOENT"),
        (c::EINTR, "EINTR"),
        (c::EBADF, "EBADF"),
        (c::EAGAIN, "EAGAIN"),
        (c::ENOMEM, "ENOMEM"),
        (c::EACCES, "EACCES"),
        (c::EFAULT, "EFAULT"),
        (c::EBUSY, "EBUSY"),
        (c::EEXIST, "EEXIST"),
        (c::EXDEV, "EXDEV"),
        (c::ENODEV, "ENODEV"),
        (c::EINVAL, "EINVAL"),
        (c::ENOTTY, "ENOTTY"),
        (c::ENOSPC, "ENOSPC"),
        (c::ESPIPE, "ESPIPE"),
        (c::EPIPE, "EPIPE"),
        (c::ERANGE, "ERANGE"),
        (c::ESRCH, "ESRCH"),
        (c::EOVERFLOW, "EOVERFLOW"),
        (c::E2BIG, "E2BIG"),
        (c::EIO, "EIO"),
        (c::EOPNOTSUPP, "EOPNOTSUPP"),
        (c::ENXIO, "ENXIO"),
        (c::EMSGSIZE, "EMSGSIZE"),
        (c::EADDRINUSE, "EADDRINUSE"),
        (c::ETIMEDOUT, "ETIMEDOUT"),
        (c::EDEADLK, "EDEADLK"),
    ];
    let name = NAMES
        .iter()
        .find(|(number, _)| -i64::from(*number) == result);
    name.map_or(result.to_string(), |(_, name)| (*name).to_string())
}
