/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tracepoints of the module. kapi/trace.rs calls them; what each means to
 * people, and when it is hit, is in Documentation/tracing.rst.
 *
 * "context" is the number of an open of /dev/iommu, the other ids are those of
 * its objects, and "errno" is 0 or a negative error.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM iommufd_rs

#if !defined(IOMMUFD_RS_TRACEPOINTS_H) || defined(TRACE_HEADER_MULTI_READ)
#define IOMMUFD_RS_TRACEPOINTS_H

#include <linux/tracepoint.h>
#include <linux/types.h>

TRACE_EVENT(iommufd_map,
	TP_PROTO(u64 context, u32 ioas, u64 iova, u64 length, int fd, u64 start,
		 u32 flags, int error),
	TP_ARGS(context, ioas, iova, length, fd, start, flags, error),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u64, iova)
		__field(u64, length)
		__field(u64, start)
		__field(u32, ioas)
		__field(u32, flags)
		__field(int, fd)
		__field(int, errno)
	),
	TP_fast_assign(
		__entry->context = context;
		__entry->iova = iova;
		__entry->length = length;
		__entry->start = start;
		__entry->ioas = ioas;
		__entry->flags = flags;
		__entry->fd = fd;
		__entry->errno = error;
	),
	TP_printk("context=%llu ioas=%u iova=0x%llx length=0x%llx fd=%d start=0x%llx flags=0x%x errno=%d",
		  __entry->context, __entry->ioas, __entry->iova,
		  __entry->length, __entry->fd, __entry->start, __entry->flags,
		  __entry->errno)
);

TRACE_EVENT(iommufd_unmap,
	TP_PROTO(u64 context, u32 ioas, u64 iova, u64 length, u64 unmapped,
		 int error),
	TP_ARGS(context, ioas, iova, length, unmapped, error),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u64, iova)
		__field(u64, length)
		__field(u64, unmapped)
		__field(u32, ioas)
		__field(int, errno)
	),
	TP_fast_assign(
		__entry->context = context;
		__entry->iova = iova;
		__entry->length = length;
		__entry->unmapped = unmapped;
		__entry->ioas = ioas;
		__entry->errno = error;
	),
	TP_printk("context=%llu ioas=%u iova=0x%llx length=0x%llx unmapped=0x%llx errno=%d",
		  __entry->context, __entry->ioas, __entry->iova,
		  __entry->length, __entry->unmapped, __entry->errno)
);

TRACE_EVENT(iommufd_copy,
	TP_PROTO(u64 context, u32 src_ioas, u64 src_iova, u32 dst_ioas,
		 u64 dst_iova, u64 length, u32 flags, int error),
	TP_ARGS(context, src_ioas, src_iova, dst_ioas, dst_iova, length, flags,
		error),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u64, src_iova)
		__field(u64, dst_iova)
		__field(u64, length)
		__field(u32, src_ioas)
		__field(u32, dst_ioas)
		__field(u32, flags)
		__field(int, errno)
	),
	TP_fast_assign(
		__entry->context = context;
		__entry->src_iova = src_iova;
		__entry->dst_iova = dst_iova;
		__entry->length = length;
		__entry->src_ioas = src_ioas;
		__entry->dst_ioas = dst_ioas;
		__entry->flags = flags;
		__entry->errno = error;
	),
	TP_printk("context=%llu src_ioas=%u src_iova=0x%llx dst_ioas=%u dst_iova=0x%llx length=0x%llx flags=0x%x errno=%d",
		  __entry->context, __entry->src_ioas, __entry->src_iova,
		  __entry->dst_ioas, __entry->dst_iova, __entry->length,
		  __entry->flags, __entry->errno)
);

/* A run of physically contiguous pages. */
DECLARE_EVENT_CLASS(iommufd_run,
	TP_PROTO(u64 pfn, u64 npages, bool writable),
	TP_ARGS(pfn, npages, writable),
	TP_STRUCT__entry(
		__field(u64, pfn)
		__field(u64, npages)
		__field(bool, writable)
	),
	TP_fast_assign(
		__entry->pfn = pfn;
		__entry->npages = npages;
		__entry->writable = writable;
	),
	TP_printk("pfn=0x%llx npages=%llu writable=%d", __entry->pfn,
		  __entry->npages, __entry->writable)
);

DEFINE_EVENT(iommufd_run, iommufd_pin,
	TP_PROTO(u64 pfn, u64 npages, bool writable),
	TP_ARGS(pfn, npages, writable));

DEFINE_EVENT(iommufd_run, iommufd_unpin,
	TP_PROTO(u64 pfn, u64 npages, bool writable),
	TP_ARGS(pfn, npages, writable));

/* "target" is what was asked for, "hwpt" what it came to: 0 on failure. */
DECLARE_EVENT_CLASS(iommufd_attachment,
	TP_PROTO(u64 context, u32 device, u32 pasid, u32 target, u32 hwpt,
		 int error),
	TP_ARGS(context, device, pasid, target, hwpt, error),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u32, device)
		__field(u32, pasid)
		__field(u32, target)
		__field(u32, hwpt)
		__field(int, errno)
	),
	TP_fast_assign(
		__entry->context = context;
		__entry->device = device;
		__entry->pasid = pasid;
		__entry->target = target;
		__entry->hwpt = hwpt;
		__entry->errno = error;
	),
	TP_printk("context=%llu device=%u pasid=%u target=%u hwpt=%u errno=%d",
		  __entry->context, __entry->device, __entry->pasid,
		  __entry->target, __entry->hwpt, __entry->errno)
);

DEFINE_EVENT(iommufd_attachment, iommufd_attach,
	TP_PROTO(u64 context, u32 device, u32 pasid, u32 target, u32 hwpt,
		 int error),
	TP_ARGS(context, device, pasid, target, hwpt, error));

DEFINE_EVENT(iommufd_attachment, iommufd_replace,
	TP_PROTO(u64 context, u32 device, u32 pasid, u32 target, u32 hwpt,
		 int error),
	TP_ARGS(context, device, pasid, target, hwpt, error));

TRACE_EVENT(iommufd_detach,
	TP_PROTO(u64 context, u32 device, u32 pasid),
	TP_ARGS(context, device, pasid),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u32, device)
		__field(u32, pasid)
	),
	TP_fast_assign(
		__entry->context = context;
		__entry->device = device;
		__entry->pasid = pasid;
	),
	TP_printk("context=%llu device=%u pasid=%u", __entry->context,
		  __entry->device, __entry->pasid)
);

/* "submissions" is -1 if the kernel's driver was asked, which does not tell. */
TRACE_EVENT(iommufd_invalidate,
	TP_PROTO(u64 context, u32 object, u32 type, u32 asked, u32 done,
		 int submissions, int error),
	TP_ARGS(context, object, type, asked, done, submissions, error),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u32, object)
		__field(u32, type)
		__field(u32, asked)
		__field(u32, done)
		__field(int, submissions)
		__field(int, errno)
	),
	TP_fast_assign(
		__entry->context = context;
		__entry->object = object;
		__entry->type = type;
		__entry->asked = asked;
		__entry->done = done;
		__entry->submissions = submissions;
		__entry->errno = error;
	),
	TP_printk("context=%llu object=%u type=%u asked=%u done=%u submissions=%d errno=%d",
		  __entry->context, __entry->object, __entry->type,
		  __entry->asked, __entry->done, __entry->submissions,
		  __entry->errno)
);

TRACE_EVENT(iommufd_fault,
	TP_PROTO(u64 context, u32 queue, u32 device, u32 pasid, u32 group,
		 u32 perm, u64 addr),
	TP_ARGS(context, queue, device, pasid, group, perm, addr),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u64, addr)
		__field(u32, queue)
		__field(u32, device)
		__field(u32, pasid)
		__field(u32, group)
		__field(u32, perm)
	),
	TP_fast_assign(
		__entry->context = context;
		__entry->addr = addr;
		__entry->queue = queue;
		__entry->device = device;
		__entry->pasid = pasid;
		__entry->group = group;
		__entry->perm = perm;
	),
	TP_printk("context=%llu queue=%u device=%u pasid=%u group=%u perm=0x%x addr=0x%llx",
		  __entry->context, __entry->queue, __entry->device,
		  __entry->pasid, __entry->group, __entry->perm, __entry->addr)
);

/* "faults" is the number of faults in the group that was answered. */
TRACE_EVENT(iommufd_fault_answer,
	TP_PROTO(u64 context, u32 queue, u32 device, u32 cookie, u32 faults,
		 u32 code),
	TP_ARGS(context, queue, device, cookie, faults, code),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u32, queue)
		__field(u32, device)
		__field(u32, cookie)
		__field(u32, faults)
		__field(u32, code)
	),
	TP_fast_assign(
		__entry->context = context;
		__entry->queue = queue;
		__entry->device = device;
		__entry->cookie = cookie;
		__entry->faults = faults;
		__entry->code = code;
	),
	TP_printk("context=%llu queue=%u device=%u cookie=%u faults=%u code=%u",
		  __entry->context, __entry->queue, __entry->device,
		  __entry->cookie, __entry->faults, __entry->code)
);

/* An event that was lost has no room or no memory; "errno" says which. */
TRACE_EVENT(iommufd_vevent,
	TP_PROTO(u64 context, u32 viommu, u32 type, u64 number, u64 length,
		 int error),
	TP_ARGS(context, viommu, type, number, length, error),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u64, number)
		__field(u64, length)
		__field(u32, viommu)
		__field(u32, type)
		__field(int, errno)
	),
	TP_fast_assign(
		__entry->context = context;
		__entry->number = number;
		__entry->length = length;
		__entry->viommu = viommu;
		__entry->type = type;
		__entry->errno = error;
	),
	TP_printk("context=%llu viommu=%u type=%u number=%llu length=%llu errno=%d",
		  __entry->context, __entry->viommu, __entry->type,
		  __entry->number, __entry->length, __entry->errno)
);

DECLARE_EVENT_CLASS(iommufd_object,
	TP_PROTO(u64 context, u32 id, const char *kind),
	TP_ARGS(context, id, kind),
	TP_STRUCT__entry(
		__field(u64, context)
		__field(u32, id)
		__string(kind, kind)
	),
	TP_fast_assign(
		__entry->context = context;
		__entry->id = id;
		__assign_str(kind);
	),
	TP_printk("context=%llu id=%u kind=%s", __entry->context, __entry->id,
		  __get_str(kind))
);

DEFINE_EVENT(iommufd_object, iommufd_made,
	TP_PROTO(u64 context, u32 id, const char *kind),
	TP_ARGS(context, id, kind));

DEFINE_EVENT(iommufd_object, iommufd_destroyed,
	TP_PROTO(u64 context, u32 id, const char *kind),
	TP_ARGS(context, id, kind));

/* "code" is that of the reason, "number" the number that the reason is about. */
TRACE_EVENT(iommufd_refused,
	TP_PROTO(u64 context, const char *command, int error, u32 code, const char *reason,
		 u64 number),
	TP_ARGS(context, command, error, code, reason, number),
	TP_STRUCT__entry(
		__field(u64, context)
		__string(command, command)
		__field(int, errno)
		__field(u32, code)
		__string(reason, reason)
		__field(u64, number)
	),
	TP_fast_assign(
		__entry->context = context;
		__assign_str(command);
		__entry->errno = error;
		__entry->code = code;
		__assign_str(reason);
		__entry->number = number;
	),
	TP_printk("context=%llu command=%s errno=%d reason=%s number=0x%llx", __entry->context,
		  __get_str(command), __entry->errno, __get_str(reason), __entry->number)
);

#endif

/* Below is read each time. Kbuild adds this folder to where headers are looked for. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE tracepoints
#include <trace/define_trace.h>
