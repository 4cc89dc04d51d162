// SPDX-License-Identifier: GPL-2.0-only

//! `/proc/PID/fdinfo/N` of an open of `/dev/iommu`: lines of a key, a colon, a tab and a value, as
//! drm-usage-stats.rst of the kernel has them. `Documentation/observing.rst` says what each means.
//! Programs read them, so a key keeps its name and its meaning.
//!
//! Reading takes the table's lock for an object at a time and no lock that a long operation holds,
//! and allocates nothing. The number of lines is bounded.

use kernel::{
    prelude::*,
    seq_file::SeqFile,
    sync::atomic::ordering::Relaxed, //
};

use crate::{
    kapi::{
        lines::Lines,
        mm::{
            locked_vm::Accounting,
            usage::Usage, //
        },
        reason::Refused,
        units::PAGE_SIZE, //
    },
    object::Ctx, //
};

/// The most objects of a kind of which lines are written.
const MOST_OF_A_KIND: u64 = 64;
/// The most times that ids are looked at of which no object is shown.
const MOST_IN_VAIN: usize = 256;
/// The most ids that are looked at without releasing the table's lock in between. Of them one
/// object is shown at most.
const IDS_AT_ONCE: usize = 16;

/// Shows a context.
pub(crate) fn show(ctx: &Ctx, out: &SeqFile) {
    let lines = Lines::new(out);
    lines.line("driver", fmt!("iommufd_rs"));
    lines.number("context", ctx.id());
    memory(ctx.usage(), ctx.process_accounting(), &lines);
    let counters = ctx.counters();
    lines.number("maps", counters.maps.load(Relaxed));
    lines.number("unmaps", counters.unmaps.load(Relaxed));
    lines.number("invalidations", counters.invalidations.load(Relaxed));
    refusals(ctx, &lines);
    objects(ctx, &lines);
}

/// Shows what is pinned, whom it is charged to, and the limit.
fn memory(usage: &Usage, process: bool, lines: &Lines<'_>) {
    let kib = |npages: u64| npages.saturating_mul(PAGE_SIZE / 1024);
    lines.line("pinned", fmt!("{} KiB", kib(usage.pinned())));
    let mode = if process { "process" } else { "user" };
    lines.line("accounting", fmt!("{mode}"));
    let Some((owner, accounting)) = usage.account() else {
        return;
    };
    let kind = match accounting {
        Accounting::Unlimited => "none",
        Accounting::User => "user",
        Accounting::Process => "process",
    };
    lines.line("account", fmt!("{kind}"));
    lines.number("account-uid", owner.uid());
    lines.line("account-pid", fmt!("{}", owner.pid()));
    let charged = kib(owner.charged(accounting));
    lines.line("account-charged", fmt!("{charged} KiB"));
    match owner.limit(accounting) {
        Some(limit) => lines.line("account-limit", fmt!("{} KiB", kib(limit))),
        None => lines.line("account-limit", fmt!("unlimited")),
    }
}

/// Shows the number of refusals, and the last one.
fn refusals(ctx: &Ctx, lines: &Lines<'_>) {
    let (count, last) = ctx.last_refusal().get();
    lines.number("refused", count);
    let Some(Refused { command, refusal }) = last else {
        return;
    };
    let (reason, errno) = (refusal.reason(), -refusal.error().to_errno());
    lines.line("refused-command", fmt!("{command}"));
    lines.line("refused-errno", fmt!("{errno}"));
    lines.line("refused-reason", fmt!("{}", reason.name()));
    lines.line("refused-number", fmt!("{:#x}", refusal.number()));
    lines.line("refused-text", fmt!("{refusal}"));
}

/// Shows the numbers of objects of each kind, and the first objects of each.
fn objects(ctx: &Ctx, lines: &Lines<'_>) {
    let mut total = 0_u64;
    for (kind, number) in ctx.objects().census().iter() {
        total = total.saturating_add(number);
        lines.number_of(kind, number);
    }
    let mut shown = [const { (None, 0_u64) }; 16];
    let mut all = 0;
    let mut next = Some(0);
    let mut in_vain = 0;
    while let (Some(from), true) = (next, in_vain < MOST_IN_VAIN) {
        // An id without an object counts as well.
        in_vain += 1;
        next = ctx.objects().look(from, IDS_AT_ONCE, |seen| {
            let kind = seen.kind();
            let known = |known: &(Option<&CStr>, u64)| known.0.is_none_or(|known| known == kind);
            let Some(entry) = shown.iter_mut().find(|entry| known(entry)) else {
                return true;
            };
            entry.0 = Some(kind);
            if entry.1 >= MOST_OF_A_KIND {
                return true;
            }
            entry.1 += 1;
            all += 1;
            in_vain -= 1;
            seen.show(lines);
            // The table is unlocked in between.
            false
        });
    }
    let left_out = total.saturating_sub(all);
    if left_out != 0 {
        lines.line("left-out", fmt!("{left_out} objects"));
    }
}
