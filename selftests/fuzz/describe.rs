// SPDX-License-Identifier: GPL-2.0-only

//! Descriptions for syzkaller, in its language, of what its `sys/linux/dev_iommu.txt` does not
//! have. `dev_iommu_rs.txt` is what `all` returns. Each field must be where the struct of C has it, as syzkaller
//! lays out the types that are described.

use std::{
    collections::BTreeMap,
    fmt::Write, //
};

use crate::{
    calls::{
        HWPT_SELFTEST,
        HWPT_VTD,
        VIOMMU_INVALIDATE_SELFTEST,
        VIOMMU_SELFTEST, //
    },
    calls_other::{
        FAULT,
        RESPONSE, //
    },
    sys::c,
    table::{
        Kind::*, //
        *,
    },
};

const HEAD: &str = "\
# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
# Copyright 2026 syzkaller project authors. All rights reserved.
# Use of this source code is governed by Apache 2 LICENSE that can be found in the LICENSE file.

# What dev_iommu.txt does not have: the commands of /dev/iommu for files, processes, faults, vIOMMUs and
# what is on them, the page tables and invalidations of hardware, fields of HWPT_ALLOC and GET_HW_INFO
# that are newer, and the operations of the mock IOMMU for these. It uses resources of dev_iommu.txt, and
# names of its own for all that it declares.

include <uapi/linux/fcntl.h>
include <uapi/linux/iommufd.h>
include <uapi/linux/mman.h>
include <../drivers/iommu/iommufd/iommufd_test.h>

define IOMMUFD_TEST_CMD_SIZE	sizeof(struct iommu_test_cmd)

";

const TAIL: &str = "
read$iommu_fault(fd fd_iommu_fault, buf ptr[out, array[iommufd_hwpt_pgfault]], len bytesize[buf])
write$iommu_fault(fd fd_iommu_fault, buf ptr[in, array[iommufd_hwpt_page_response]], len bytesize[buf])
read$iommu_veventq(fd fd_iommu_veventq, buf ptr[out, array[int8]], len bytesize[buf])
mmap$iommufd(addr vma, len len[addr], prot flags[mmap_prot], flags const[MAP_SHARED], \
fd fd_iommufd, offset iommufd_mmap_offset)
";

/// Structs of hardware, which no mock has, so that the fuzzer does not make them.
static VTD_INVALIDATE: &Layout = layout!(iommu_hwpt_vtd_s1_invalidate {
    addr: Iova,
    npages: Number(&[]),
    flags: Flags(set![IOMMU_VTD_INV_FLAGS_LEAF]),
    __reserved: Zero,
});

static HWPT_ARM: &Layout = layout!(iommu_hwpt_arm_smmuv3 { ste: Number(&[]) });

static INVALIDATE_ARM: &Layout = layout!(iommu_viommu_arm_smmuv3_invalidate { cmd: Number(&[]) });

static HWPT_AMD: &Layout = layout!(iommu_hwpt_amd_guest { dte: Number(&[]) });

static VIOMMU_TEGRA: &Layout = layout!(iommu_viommu_tegra241_cmdqv {
    out_vintf_mmap_offset: Result,
    out_vintf_mmap_length: Result,
});

/// Values of fields that only hardware has, in addition to those of the table, by the name of the set.
static OF_HARDWARE: &[(&str, &[Named])] = &[
    (
        "iommufd_hw_info_in_data_type_values",
        set![
            IOMMU_HW_INFO_TYPE_ARM_SMMUV3,
            IOMMU_HW_INFO_TYPE_TEGRA241_CMDQV,
            IOMMU_HW_INFO_TYPE_AMD,
        ],
    ),
    (
        "iommufd_veventq_alloc_type_values",
        set![IOMMU_VEVENTQ_TYPE_TEGRA241_CMDQV],
    ),
];

/// One of the forms of a call of which a field says what another one is.
struct Form {
    call: &'static str,
    /// What follows `$` in its name.
    name: &'static str,
    /// The names of the fields that have one value, with that.
    values: &'static [(&'static str, &'static str)],
    /// The fields that name one kind of object.
    objects: &'static [(&'static str, Res)],
    /// What the field `data_uptr` points to, or nothing.
    data: Option<&'static Layout>,
}

const fn destroy(name: &'static str, objects: &'static [(&'static str, Res)]) -> Form {
    form("destroy", name, &[], objects, None)
}

const fn form(
    call: &'static str,
    name: &'static str,
    values: &'static [(&'static str, &'static str)],
    objects: &'static [(&'static str, Res)],
    data: Option<&'static Layout>,
) -> Form {
    Form {
        call,
        name,
        values,
        objects,
        data,
    }
}

/// The other calls have one form. dev_iommu.txt has more of `destroy`, `hwpt_alloc` and `hwpt_invalidate`, and one
/// of those that have a single form here.
static FORMS: &[Form] = &[
    destroy("idev", &[("id", Res::Device)]),
    destroy("mock", &[("id", Res::Mock)]),
    destroy("fault", &[("id", Res::Fault)]),
    destroy("viommu", &[("id", Res::Viommu)]),
    destroy("vdevice", &[("id", Res::Vdevice)]),
    destroy("veventq", &[("id", Res::Veventq)]),
    destroy("hw_queue", &[("id", Res::HwQueue)]),
    form(
        "hwpt_alloc",
        "none_fault",
        &[("data_type", "IOMMU_HWPT_DATA_NONE")],
        &[],
        None,
    ),
    form(
        "hwpt_alloc",
        "selftest_fault",
        &[("data_type", "IOMMU_HWPT_DATA_SELFTEST")],
        &[],
        Some(HWPT_SELFTEST),
    ),
    form(
        "hwpt_alloc",
        "vtd_s1",
        &[("data_type", "IOMMU_HWPT_DATA_VTD_S1")],
        &[],
        Some(HWPT_VTD),
    ),
    form(
        "hwpt_alloc",
        "arm_smmuv3",
        &[("data_type", "IOMMU_HWPT_DATA_ARM_SMMUV3")],
        &[],
        Some(HWPT_ARM),
    ),
    form(
        "hwpt_alloc",
        "amd_guest",
        &[("data_type", "IOMMU_HWPT_DATA_AMD_GUEST")],
        &[],
        Some(HWPT_AMD),
    ),
    form(
        "hwpt_invalidate",
        "vtd_s1",
        &[("data_type", "IOMMU_HWPT_INVALIDATE_DATA_VTD_S1")],
        &[("hwpt_id", Res::Hwpt)],
        Some(VTD_INVALIDATE),
    ),
    form(
        "hwpt_invalidate",
        "viommu_selftest",
        &[("data_type", "IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST")],
        &[("hwpt_id", Res::Viommu)],
        Some(VIOMMU_INVALIDATE_SELFTEST),
    ),
    form(
        "hwpt_invalidate",
        "viommu_arm_smmuv3",
        &[("data_type", "IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3")],
        &[("hwpt_id", Res::Viommu)],
        Some(INVALIDATE_ARM),
    ),
    form(
        "viommu_alloc",
        "selftest",
        &[("type_", "IOMMU_VIOMMU_TYPE_SELFTEST")],
        &[],
        Some(VIOMMU_SELFTEST),
    ),
    form(
        "viommu_alloc",
        "arm_smmuv3",
        &[("type_", "IOMMU_VIOMMU_TYPE_ARM_SMMUV3")],
        &[],
        None,
    ),
    form(
        "viommu_alloc",
        "tegra241_cmdqv",
        &[("type_", "IOMMU_VIOMMU_TYPE_TEGRA241_CMDQV")],
        &[],
        Some(VIOMMU_TEGRA),
    ),
    form("get_hw_info", "in_data_type", &[], &[], None),
    form("mock_domain_flags", "mock", &[], &[], None),
    form("mock_replace", "mock", &[], &[], None),
];

/// The name of the resource that mmap() takes.
const MMAP_OFFSET: &str = "iommufd_mmap_offset";

/// The types of calls that are described.
const DESCRIBED: &[&str] = &[
    "hwpt_alloc",
    "get_hw_info",
    "hwpt_invalidate",
    "fault_queue_alloc",
    "ioas_map_file",
    "viommu_alloc",
    "vdevice_alloc",
    "ioas_change_process",
    "veventq_alloc",
    "hw_queue_alloc",
    "ioas_noiommu_get_pa",
    "destroy",
    "mock_domain_flags",
    "mock_replace",
    "dirty",
    "check_iotlb",
    "trigger_iopf",
    "check_dev_cache",
    "trigger_vevent",
    "pasid_attach",
    "pasid_replace",
    "pasid_detach",
    "pasid_check",
    "dmabuf_get",
    "dmabuf_revoke",
];

/// Returns the name of a resource, and what it is if it is not in dev_iommu.txt.
const fn resource(res: Res) -> (&'static str, &'static str) {
    match res {
        Res::Context => ("fd_iommufd", ""),
        Res::Ioas => ("ioas_handle", ""),
        Res::Hwpt => ("hwpt_handle", ""),
        // Of dev_iommu.txt it is not known by what name it has these.
        Res::Mock => ("iommufd_mock_handle", "int32"),
        Res::AccessFd => ("fd_access", ""),
        Res::AccessPages => ("access_pages_handle", ""),
        Res::Device => ("device_handle", ""),
        Res::Fault => ("iommufd_fault_handle", "int32"),
        Res::FaultFd => ("fd_iommu_fault", "fd"),
        Res::Cookie => ("iommufd_fault_cookie", "int32"),
        Res::Viommu => ("iommufd_viommu_handle", "int32"),
        Res::Vdevice => ("iommufd_vdevice_handle", "int32"),
        Res::Veventq => ("iommufd_veventq_handle", "int32"),
        Res::VeventqFd => ("fd_iommu_veventq", "fd"),
        Res::HwQueue => ("iommufd_hw_queue_handle", "int32"),
        Res::DmaBuf => ("fd_iommu_dmabuf", "fd"),
        Res::Vfio | Res::Group | Res::Child | Res::Mapping => ("", ""),
    }
}

/// Returns the name that a struct of C has here. Those of dev_iommu.txt begin as in C.
fn own(name: &str) -> String {
    format!("iommufd_{}", name.trim_start_matches("iommu_"))
}

/// Returns how many bytes a field of this type has in syzkaller, and to what multiple of bytes its offset is rounded up.
fn space_of(of: &str) -> (usize, usize) {
    if let Some((element, number)) = of
        .strip_prefix("array[")
        .and_then(|of| of.rsplit_once(", "))
    {
        let (size, align) = space_of(element);
        let number: Option<usize> = number.trim_end_matches(']').parse().ok();
        return (size * number.unwrap_or(0), align);
    }
    let size = match of.rsplit_once("int") {
        _ if of.starts_with("ptr64[") || of == MMAP_OFFSET => 8,
        Some((_, bits)) => bits.trim_end_matches(']').parse().unwrap_or(0) / 8,
        // A file or an id, or several kinds of these.
        None => 4,
    };
    (size, size.max(1))
}

/// Returns the text of a struct or union. As syz-fmt has it, the types of all fields begin in one column.
fn block(open: &str, fields: &[(&str, String)], close: &str) -> String {
    let tabs = |name: &str| name.len() / 8 + 1;
    let most = fields.iter().map(|(name, _)| tabs(name)).max().unwrap_or(0);
    let mut text = format!("{open}\n");
    for (name, of) in fields {
        let _ = writeln!(text, "\t{name}{}{of}", "\t".repeat(most + 1 - tabs(name)));
    }
    let _ = writeln!(text, "{close}");
    text
}

#[derive(Default)]
struct Text {
    resources: BTreeMap<&'static str, &'static str>,
    calls: String,
    structs: BTreeMap<String, String>,
    flags: BTreeMap<String, String>,
}

/// Returns the descriptions.
pub(crate) fn all() -> String {
    let mut text = Text::default();
    for call in calls().filter(|call| DESCRIBED.contains(&call.name)) {
        let mut forms = FORMS
            .iter()
            .filter(|form| form.call == call.name)
            .peekable();
        if forms.peek().is_none() {
            text.call(call, None);
        }
        forms.for_each(|form| text.call(call, Some(form)));
    }
    for layout in [FAULT, RESPONSE] {
        text.layout(layout, &own(layout.name), "", None);
    }
    let mut all = HEAD.to_string();
    for (name, of) in &text.resources {
        let _ = writeln!(all, "resource {name}[{of}]");
    }
    let _ = write!(all, "\n{}{TAIL}", text.calls);
    for body in text.structs.values() {
        let _ = write!(all, "\n{body}");
    }
    all.push('\n');
    for (name, values) in &text.flags {
        let _ = writeln!(all, "{name} = {values}");
    }
    all
}

impl Text {
    fn call(&mut self, call: &'static CallType, form: Option<&'static Form>) {
        let is_test = call.command == "TEST_CMD";
        let of_form = form.map_or(String::new(), |form| format!("${}", form.name));
        let suffix = if is_test {
            format!("${}", call.name)
        } else {
            of_form.clone()
        };
        let name = format!("{}{suffix}", own(call.layout.name));
        let operation = call
            .layout
            .fields
            .iter()
            .find_map(|field| match field.kind {
                Kind::Fixed(of) => of.first().map(|named| named.name),
                _ => None,
            });
        let ioctl = match operation {
            Some(operation) => format!("ioctl${operation}{of_form}"),
            None => format!("ioctl$IOMMU_{}{of_form}", call.command),
        };
        // dmabuf_get returns a descriptor.
        let returns = if call.name == "dmabuf_get" {
            self.resource(Res::DmaBuf).to_string()
        } else {
            String::new()
        };
        let _ = writeln!(
            self.calls,
            "{ioctl}(fd fd_iommufd, cmd const[IOMMU_{}], arg ptr[inout, {name}]){}{returns}",
            call.command,
            if returns.is_empty() { "" } else { " " },
        );
        debug_assert!(matches!(call.action, Action::Ioctl(_)));
        self.layout(
            call.layout,
            &name,
            if is_test {
                " [size[IOMMUFD_TEST_CMD_SIZE]]"
            } else {
                ""
            },
            form,
        );
    }

    fn resource(&mut self, res: Res) -> &'static str {
        let (name, of) = resource(res);
        if !of.is_empty() {
            self.resources.insert(name, of);
        }
        name
    }

    fn layout(
        &mut self,
        layout: &'static Layout,
        name: &str,
        attributes: &str,
        form: Option<&'static Form>,
    ) {
        let mut lines = Vec::new();
        let mut fields: Vec<_> = layout
            .fields
            .iter()
            .filter(|field| field.size > 0)
            .collect();
        fields.sort_by_key(|field| field.offset);
        let (mut end, mut most) = (0_usize, 1);
        for field in fields {
            let of_form = form.and_then(|form| self.field_of_form(form, layout, field));
            let (of, direction) = of_form.unwrap_or_else(|| self.field(layout, field));
            let (size, align) = space_of(&of);
            let start = end.next_multiple_of(align);
            assert!(
                (start, size) == (field.offset, field.size),
                "{name}: {} is {} bytes at {}, and described as {of} at {start}",
                field.name,
                field.size,
                field.offset,
            );
            end = start + size;
            most = most.max(align);
            lines.push((field.name.trim_end_matches('_'), of + direction));
        }
        let end = end.next_multiple_of(most);
        // The attribute is the size of the struct.
        assert!(
            end == layout.size || (end < layout.size && !attributes.is_empty()),
            "{name} is {} bytes, and described as {end}",
            layout.size,
        );
        let body = block(&format!("{name} {{"), &lines, &format!("}}{attributes}"));
        self.structs.insert(name.to_string(), body);
    }

    /// Returns the same as `field`, if the form says what the field is.
    fn field_of_form(
        &mut self,
        form: &'static Form,
        layout: &'static Layout,
        field: &'static Field,
    ) -> Option<(String, &'static str)> {
        let int = format!("int{}", 8 * field.size);
        if let Some((_, value)) = form.values.iter().find(|(name, _)| *name == field.name) {
            return Some((format!("const[{value}, {int}]"), ""));
        }
        if let Some((_, res)) = form.objects.iter().find(|(name, _)| *name == field.name) {
            return Some((self.resource(*res).to_string(), ""));
        }
        let has = |name: &str| layout.fields.iter().any(|field| field.name == name);
        match (field.name, form.data) {
            // A form that says nothing of the fields has those of the table.
            _ if form.values.is_empty() => None,
            ("data_uptr" | "data_len", None) => Some((format!("const[0x0, {int}]"), "")),
            ("entry_len", Some(data)) => Some((format!("const[{:#x}, {int}]", data.size), "")),
            ("data_uptr", Some(data)) => {
                let name = own(data.name);
                self.layout(data, &name, "", None);
                let of = if has("entry_num") {
                    format!("array[{name}]")
                } else {
                    name
                };
                Some((format!("ptr64[inout, {of}]"), ""))
            }
            _ => None,
        }
    }

    /// Returns the type of a field, and which way it goes if not that of the struct.
    fn field(&mut self, layout: &'static Layout, field: &Field) -> (String, &'static str) {
        let int = format!("int{}", 8 * field.size);
        if field.name.ends_with("mmap_offset") {
            self.resources.insert(MMAP_OFFSET, "int64");
            return (MMAP_OFFSET.to_string(), "\t(out)");
        }
        match field.kind {
            // Words of hardware.
            Kind::Number(_) if field.size > 8 => (format!("array[int64, {}]", field.size / 8), ""),
            Kind::Size => (format!("len[parent, {int}]"), ""),
            Kind::Zero if matches!(field.size, 1 | 2 | 4 | 8) => (format!("const[0x0, {int}]"), ""),
            Kind::Zero => (format!("array[const[0x0, int8], {}]", field.size), ""),
            Kind::Fixed(of) => (
                format!(
                    "const[{}, {int}]",
                    of.first().map_or("0x0", |named| named.name)
                ),
                "",
            ),
            Kind::Flags([]) => (format!("const[0x0, {int}]"), ""),
            Kind::Flags(of) | Kind::Choice(of) => (
                format!("flags[{}, {int}]", self.flags(layout, field, of)),
                "",
            ),
            Kind::Id([res]) | Kind::Fd([res]) => (self.resource(*res).to_string(), ""),
            Kind::Id(of) | Kind::Fd(of) => (self.union(of), ""),
            Kind::File => ("fd".to_string(), ""),
            Kind::OutId(res) | Kind::OutFd(res) => (self.resource(res).to_string(), "\t(out)"),
            Kind::Result | Kind::Echo => (int, "\t(out)"),
            Kind::Number(_) | Kind::Iova | Kind::Length => (int, ""),
            Kind::Memory | Kind::Bitmap => ("ptr64[in, array[int8]]".to_string(), ""),
            Kind::Buffer(_) => ("ptr64[out, array[int8]]".to_string(), ""),
            Kind::Count => (self.count(layout, field), ""),
            Kind::Array(of, _) => {
                for layout in of {
                    self.layout(layout, &own(layout.name), "", None);
                }
                match of {
                    [one] => (format!("ptr64[inout, array[{}]]", own(one.name)), ""),
                    _ => (
                        format!("ptr64[inout, array[{}]]", self.choice(layout, field, of)),
                        "",
                    ),
                }
            }
        }
    }

    fn count(&self, layout: &Layout, field: &Field) -> String {
        let counted = layout.fields.iter().find_map(|other| match other.kind {
            Kind::Array(_, name) if name == field.name => Some((other.name, name == "data_len")),
            Kind::Buffer(name) if name == field.name => Some((other.name, true)),
            _ => None,
        });
        let (of, is_bytes) = counted.unwrap_or(("parent", false));
        format!(
            "{}[{of}, int{}]",
            if is_bytes { "bytesize" } else { "len" },
            8 * field.size
        )
    }

    fn flags(&mut self, layout: &Layout, field: &Field, of: &[Named]) -> String {
        let name = format!(
            "{}_{}_values",
            own(layout.name),
            field.name.trim_end_matches('_')
        );
        let more = OF_HARDWARE.iter().filter(|(of, _)| *of == name);
        let values: Vec<_> = of
            .iter()
            .chain(more.flat_map(|(_, more)| more.iter()))
            .map(|named| named.name)
            .collect();
        self.flags.insert(name.clone(), values.join(", "));
        name
    }

    fn union(&mut self, of: &[Res]) -> String {
        let names: Vec<_> = of
            .iter()
            .map(|res| format!("{res:?}").to_lowercase())
            .collect();
        let name = format!("iommufd_id_{}", names.join("_"));
        let members: Vec<_> = names
            .iter()
            .zip(of)
            .map(|(member, res)| (member.as_str(), self.resource(*res).to_string()))
            .collect();
        let body = block(&format!("{name} ["), &members, "]");
        self.structs.insert(name.clone(), body);
        name
    }

    fn choice(&mut self, layout: &Layout, field: &Field, of: &[&'static Layout]) -> String {
        let name = format!("{}_{}", own(layout.name), field.name);
        let names: Vec<_> = of.iter().map(|layout| own(layout.name)).collect();
        let members: Vec<_> = names.iter().map(|of| (of.as_str(), of.clone())).collect();
        let body = block(&format!("{name} ["), &members, "] [varlen]");
        self.structs.insert(name.clone(), body);
        name
    }
}
