// SPDX-License-Identifier: GPL-2.0-only

//! `/proc/PID/fdinfo/N` of an open of `/dev/iommu`: lines of a key, a colon, a tab and a value, as
//! drm-usage-stats.rst of the kernel has them. `Documentation/observing.rst` says what each means.
//! Programs read them, so a key keeps its name and its meaning.

use kernel::seq_file::{
    seq_print,
    SeqFile, //
};

use crate::{
    kapi::reason::Refused,
    object::Ctx, //
};

/// Shows a context.
pub(crate) fn show(ctx: &Ctx, out: &SeqFile) {
    seq_print!(out, "iommufd-driver:\tiommufd_rs\n");
    seq_print!(out, "iommufd-context:\t{}\n", ctx.id());
    refusals(ctx, out);
}

/// Shows the number of refusals, and the last one.
fn refusals(ctx: &Ctx, out: &SeqFile) {
    let (count, last) = ctx.last_refusal().get();
    seq_print!(out, "iommufd-refused:\t{count}\n");
    let Some(Refused { command, refusal }) = last else {
        return;
    };
    let (reason, errno) = (refusal.reason(), -refusal.error().to_errno());
    seq_print!(out, "iommufd-refused-command:\t{command}\n");
    seq_print!(out, "iommufd-refused-errno:\t{errno}\n");
    seq_print!(out, "iommufd-refused-reason:\t{}\n", reason.name());
    seq_print!(out, "iommufd-refused-number:\t{:#x}\n", refusal.number());
    seq_print!(out, "iommufd-refused-text:\t{refusal}\n");
}
