#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0-only
# Sees that fence.sh finds what it is there for: each breach is made in a copy of the tree. Prints
# KTAP; fails where one is overlooked.
set -euo pipefail
cd "$(dirname "$0")/../.."

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
TREE=$SCRATCH/tree
COUNT=0 MISSED=0

result() {
	COUNT=$((COUNT + 1))
	if ((!$1)); then echo "ok $COUNT $2"; else
		echo "not ok $COUNT $2"
		MISSED=$((MISSED + 1))
	fi
}

# finds CHECKS FILE TEXT: with TEXT at the end of FILE those checks of the fence fail, and no other.
finds() {
	local number=$1 file=$2 text=$3 found status=0
	mkdir -p "$TREE/$(dirname "$file")"
	[ ! -e "$TREE/$file" ] || cp "$TREE/$file" "$SCRATCH/saved"
	printf '%b\n' "$text" >>"$TREE/$file"
	found=$(bash "$TREE/selftests/host/fence.sh" "$TREE" | sed -n 's/^not ok \([0-9]*\).*/\1/p') || status=1
	((status)) && [ "${found//$'\n'/ }" = "$number" ] && status=0 || status=1
	result "$status" "check $number: $file: ${text:0:60}${found:+ (failed: ${found//$'\n'/ })}"
	if [ -e "$SCRATCH/saved" ]; then mv "$SCRATCH/saved" "$TREE/$file"; else rm "$TREE/$file"; fi
}

# passes FILE TEXT: that is no breach.
passes() {
	local file=$1 text=$2 status=0
	cp "$TREE/$file" "$SCRATCH/saved"
	printf '%b\n' "$text" >>"$TREE/$file"
	bash "$TREE/selftests/host/fence.sh" "$TREE" >/dev/null || status=1
	result "$status" "no breach: $file: ${text:0:60}"
	mv "$SCRATCH/saved" "$TREE/$file"
}

mkdir "$TREE"
tar -c --exclude=./build --exclude=./.git --exclude=target . | tar -x -C "$TREE"
LICENCE='// SPDX-License-Identifier: GPL-2.0-only'

echo "KTAP version 1"
passes ioas/mod.rs ''
finds 1 ioas/mod.rs 'fn f() {\n    // SAFETY: It is not.\n    unsafe { g() }\n}'
finds 1 drivers/mod.rs '// SAFETY: It is not.\nunsafe impl Send for X {}'
passes ioas/mod.rs '// unsafe {'
passes kapi/mod.rs '// SAFETY: It is.\nunsafe impl Send for X {}'
finds 2 hwpt/dirty.rs '#[cfg(X)]\nuse kernel::bindings::page;'
finds 2 hwpt/dirty.rs '#[cfg(X)]\nuse kernel::{\n    bindings,\n    prelude::*, //\n};'
finds '2 4' hwpt/dirty.rs '#[cfg(X)]\nuse crate::ffi::x;'
finds 2 object/mod.rs 'fn f() {\n    kernel::bindings::BUG()\n}'
finds 3 iommufd_rs.rs 'mod stray;'
finds '3 4' stray/mod.rs "$LICENCE"
finds '4 5' object/offers.rs 'fn f() {\n    crate::ioas::g()\n}'
finds '4 5' kapi/units.rs 'fn f() {\n    crate::object::g()\n}'
finds '4 5 12' ioas/area.rs '#[cfg(X)]\nuse crate::device::Access;'
finds '4 5' device/ioctl.rs 'fn f() {\n    crate::uapi::g()\n}'
finds 4 drivers/in_tree/mod.rs 'fn f() {\n    super::super::hwpt::g()\n}'
finds '4 5 12' kapi/units.rs '#[cfg(X)]\nuse crate::{\n    ffi,\n    object::Ref, //\n};'
passes kapi/units.rs '// use crate::object::Table;'
passes kapi/units.rs 'const X: &str = "crate::object::Table";'
finds 5 kapi/sync/vec.rs 'fn f() {\n    crate::kapi::file::params::g()\n}'
finds 6 device/mod.rs '#[cfg(X)]\nuse crate::drivers::in_tree::InTree;'
finds 6 device/mod.rs '#[cfg(X)]\nuse crate::drivers::{\n    backend_of,\n    noiommu::NoIommu, //\n};'
finds 7 ioas/mod.rs 'const X: u8 = f().unwrap();'
finds 7 kapi/mod.rs 'fn f() {\n    panic!("no")\n}'
finds 7 abi/mod.rs 'fn f() {\n    unreachable!()\n}'
passes ioas/mod.rs '// It would panic!() and unwrap().\nconst X: &str = "panic!";'
finds 8 ioas/mod.rs 'fn f() {\n    list[index]\n}'
finds 8 abi/mod.rs 'fn f() {\n    g(&list[..len]);\n}'
passes abi/mod.rs 'fn f() {\n    // PANIC: It cannot.\n    g(&list[..len]);\n}'
passes abi/mod.rs '#[repr(C)]\nstruct S([u8; LEN]);'
finds 9 kapi/mod.rs 'fn f() {\n    // SAFETY: Of another.\n    g();\n    unsafe { h() }\n}'
finds 9 abi/mod.rs 'unsafe impl Send for X {}'
finds 10 selftests/runner/long.py "# SPDX-License-Identifier: GPL-2.0-only$(printf '\\n%.0s' {1..650})"
passes selftests/runner/tests.py ''
finds 11 scripts/new.sh '#!/bin/sh\necho'
finds 11 scripts/new '#!/bin/sh\necho'
finds 11 ioas/stray.rs '\n// SPDX-License-Identifier: GPL-2.0-only'
finds 12 object/registry.rs 'fn f() {\n    super::table::g()\n}\nfn h() {\n    crate::object::ctx::g()\n}'
finds 13 ioas/area.rs 'use kernel::page::PAGE_SIZE;'
finds 13 ioas/area.rs '#[cfg(X)]\nuse crate::kapi::{\n    mm, units, //\n};'
finds 13 ioas/area.rs '#[cfg(X)]\nuse crate::kapi::{\n    mm,\n    units,\n};'
finds 14 ioas/area.rs '// The heir.'
finds 14 ioas/area.rs 'struct Gone;'
finds 14 selftests/guest/bench.c '/* A tombstone. */'
finds 14 Documentation/testing.rst 'It hears of that.'
finds 15 kapi/iommu/domain.rs 'impl Domain {\n    pub(crate) fn map_at(&self, iova: u64, phys: u64) -> Result {\n        Ok(())\n    }\n}'
finds 15 kapi/iommu/domain.rs 'pub(super) fn map_at(pfns: &[u32]) {}'
finds 15 kapi/iommu/domain.rs 'pub(crate) fn map_at(phys: Option<dma_addr_t>) {}'
finds 15 kapi/iommu/domain.rs 'pub(crate) fn map_at(phys: kernel::io::PhysAddr) {}'
finds 15 kapi/iommu/domain.rs 'pub(crate) fn map_at(phys: DmaAddress) {}'
finds 15 kapi/iommu/domain.rs 'pub(in crate::kapi) fn map_at<P: Into<usize>>(phys: P) {}'
finds 15 kapi/iommu/domain.rs 'pub(crate) fn map_at<P>(paddr: (P, bool))\nwhere\n    P: Into<u64>,\n{\n}'
finds 15 kapi/mm/vma.rs 'pub(crate) fn adopt(\n    vma: &VmaNew,\n    owner: *mut bindings::file,\n) -> Result {\n    Ok(())\n}'
finds 15 kapi/mm/vma.rs 'type Owner = *mut bindings::file;\nimpl VmaNew {\n    pub(super) fn adopt(&self, owner: Option<Owner>) {}\n}'
finds 15 kapi/mm/vma.rs '#[cfg(X)]\nuse core::ptr::NonNull as Place;\npub(crate) fn adopt(owner: Place<u8>) {}'
finds 15 kapi/mm/vma.rs 'pub(crate) fn adopt(make: impl FnOnce(u64) -> Result<*mut bindings::file>) {}'
finds 15 kapi/iommu/msi.rs 'impl Doorbell {\n    pub(super) fn at(page: u64) -> Self {\n        Self(page)\n    }\n}'
finds 15 kapi/iommu/msi.rs 'impl From<IovaRange> for Doorbell {\n    fn from(page: IovaRange) -> Self {\n        Self(0)\n    }\n}'
finds 15 kapi/iommu/msi.rs 'pub(crate) fn doorbell(page: (u32, u32)) -> Option<Doorbell> {\n    None\n}'
finds 15 kapi/mm/extent.rs 'impl Extent {\n    pub(super) fn longer(&mut self, more: NonZeroU64) {}\n}'
finds 15 kapi/iommu/hw_queue.rs '/// A queue.\npub(crate) struct Wish {\n    /// Where it is.\n    pub(crate) phys: u64,\n}'
finds 15 kapi/iommu/hw_queue.rs 'pub(crate) struct Pfn(pub(crate) u64);'
finds 15 kapi/iommu/msi.rs 'pub(crate) trait Sink {\n    fn take(&self, run: NonNull<c_void>);\n}'
# Of other names, by other ways.
finds 15 kapi/iommu/domain.rs 'impl Domain {\n    pub(crate) fn map_at(&self, iova: u64, start: u64, len: usize) -> Result {\n        // SAFETY: It is not.\n        unsafe { iommu_map(self.as_ptr(), iova, start, len) }\n    }\n}'
finds 15 kapi/mm/user.rs 'pub(crate) fn peek(addr: usize) -> u8 {\n    // SAFETY: It is not.\n    unsafe { *(addr as *const u8) }\n}'
finds 15 kapi/mm/user.rs 'pub(crate) fn peek(addr: usize) -> u8 {\n    byte_at(addr + 1)\n}\nfn byte_at(addr: usize) -> u8 {\n    at(addr)\n}\nfn at(addr: usize) -> u8 {\n    // SAFETY: It is not.\n    unsafe { *(addr as *const u8) }\n}'
finds 15 kapi/mm/user.rs 'pub(crate) fn peek(place: &AtomicPtr<u8>) -> u8 {\n    0\n}'
finds 15 kapi/iommu/msi.rs 'impl Doorbell {\n    pub(crate) const FROM: fn(u64) -> Self = Self;\n}'
finds 15 kapi/iommu/msi.rs 'type From = fn(u64) -> Doorbell;\npub(super) static FROM: From = Doorbell;'
finds 15 kapi/iommu/msi.rs 'pub(crate) fn maker() -> impl Fn(u64) -> Doorbell {\n    Doorbell\n}'
finds 15 kapi/iommu/msi.rs 'macro_rules! maker {\n    ($name:ident, $page:ident) => {\n        impl Doorbell {\n            pub(crate) fn $name($page: u64) -> Self {\n                Self($page)\n            }\n        }\n    };\n}'
finds 15 kapi/iommu/msi.rs 'pub(crate) struct Maker {\n    pub(crate) page: u64,\n}\nimpl Maker {\n    pub(crate) fn make(&self) -> Doorbell {\n        Doorbell(self.page)\n    }\n}'
finds 15 kapi/iommu/msi.rs 'pub(crate) struct Maker(u64);\nimpl Maker {\n    pub(crate) fn set(&mut self, page: u64) {\n        self.0 = page;\n    }\n    pub(crate) fn make(&self) -> Option<Doorbell> {\n        Some(Doorbell(self.0))\n    }\n}'
finds 15 kapi/mm/user.rs 'pub(crate) struct Byte(u64);\npub(crate) struct Bytes {\n    pub(crate) list: KVec<Byte>,\n}\nimpl Byte {\n    pub(crate) fn of(addr: u64) -> Self {\n        Self(addr)\n    }\n}\nimpl Bytes {\n    pub(crate) fn peek(&self) {\n        // SAFETY: It is not.\n        unsafe { read(self) }\n    }\n}'
passes kapi/mm/user.rs 'pub(crate) fn next(addr: usize) -> usize {\n    addr + 1\n}'
passes kapi/iommu/msi.rs 'impl Doorbell {\n    pub(crate) const FROM: unsafe fn(u64) -> Self = Self::of;\n    pub(crate) const END: fn(&Self) -> u64 = Self::end;\n}'
passes kapi/iommu/domain.rs 'impl Domain {\n    pub(crate) unsafe fn map_at(&self, iova: u64, phys: u64) -> Result {\n        Ok(())\n    }\n}'
passes kapi/iommu/domain.rs 'impl Domain {\n    // phys: u64\n    pub(crate) fn end(&self, f: impl Fn(u64, *mut u8)) -> *mut u8 {\n        f(1, 2)\n    }\n}'
finds 16 kapi/iommu/domain.rs 'impl Domain {\n    pub(super) unsafe fn leave(&self, dev: &Device) {}\n}'
finds 17 kapi/mod.rs '// SAFETY: It is. It also does.\nunsafe impl Send for X {}'
finds 17 kapi/mod.rs '// SAFETY:\n// - It is.\n// - It does. It also can.\nunsafe impl Send for X {}'
finds 17 kapi/mod.rs '// SAFETY: By the type invariants.\nunsafe impl Send for X {}'
finds 17 kapi/mod.rs '// SAFETY: As above.\nunsafe impl Send for X {}'
finds 17 kapi/mod.rs '// SAFETY: As for the weight above.\nunsafe impl Send for X {}'
finds 17 kapi/mod.rs '// SAFETY: See `RangeKeeper`.\nunsafe impl Send for X {}'
finds 17 kapi/mod.rs '// SAFETY: It is kept in `ioas/{area,region}.rs`.\nunsafe impl Send for X {}'
finds 17 kapi/mod.rs '//! It has [`RangeKeeper`].'
passes kapi/mod.rs '// SAFETY:\n// - `Domain::map` is in `kapi/iommu/{batch,domain}.rs`, e.g. there.\n// - It does.\nunsafe impl Send for X {}'
finds 18 ioas/cut.rs 'fn f(domain: &Domain) {\n    domain.unmap(crate::ioas::ranges::RANGES, [])\n}'
finds 18 ioas/domains.rs 'pub(super) const T: IoasRanges = RANGES;'
finds 18 ioas/filler.rs 'pub(super) fn owner() -> IoasRanges {\n    RANGES\n}'
finds 18 ioas/filler.rs 'pub(super) fn owner() -> impl RangeOwner {\n    RANGES\n}'
finds 18 ioas/mmio.rs '#[cfg(X)]\npub(super) use crate::ioas::ranges::RANGES as T;'
finds 18 ioas/cut.rs 'fn f(domain: &Arc<Domain>) {\n    unfill_one(domain, [])\n}'
finds 18 ioas/reader.rs 'fn f(ioas: &Ioas) {\n    ioas.catch_up(space, followed, areas)\n}'
finds 18 ioas/unmap.rs 'fn f(ioas: &Ioas) {\n    Ioas::take_out_of_leaving(ioas, space, followed, areas)\n}'
passes ioas/cut.rs 'fn f(ioas: &Ioas) {\n    ioas.catch_up(space, followed, areas)\n}'
finds 18 ioas/cut.rs '#[cfg(X)]\nuse crate::ioas::domains::{\n    release,\n    Domains, //\n};'
passes ioas/mmio.rs 'fn f(domain: &Domain) {\n    domain.unmap(RANGES, [])\n}'
finds 16 selftests/host/signatures.toml '"iommu/domain.rs Domain::leave" = "It is not there."'
echo "1..$COUNT"
((MISSED == 0))
