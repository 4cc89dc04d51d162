/* SPDX-License-Identifier: GPL-2.0-only */
/* Calls for a mock device that is attached to page tables with a fault queue. */
#ifndef FAULT_CALL_H
#define FAULT_CALL_H

#include "frame.h"
#include "mock_call.h"

#define FAULT		sizeof(struct iommu_hwpt_pgfault)
#define ANSWER		sizeof(struct iommu_hwpt_page_response)
#define ADDR		0x123456000UL
#define NO_PASID	0
#define GOOD		IOMMUFD_PAGE_RESP_SUCCESS
#define BAD		IOMMUFD_PAGE_RESP_INVALID
#define MANY		8
/* A permission of our mock only: other faults of the group follow. */
#define MORE_FOLLOW	(1u << 31)

/* A device that is attached to page tables with a fault queue. */
struct queue {
	int fd;
	int file;
	uint32_t ioas, device, dev_id, automatic, id, hwpt;
};

extern struct iommu_hwpt_pgfault faults[MANY + 1];

int queue_alloc(int fd, uint32_t *id, int *file);
int fault_hwpt(struct queue *q, uint32_t flags, uint32_t fault_id, uint32_t *hwpt);
int replace(struct queue *q, uint32_t pt_id);
int fault_with(struct queue *q, uint32_t pasid, uint32_t group);
int fault_group(struct queue *q, uint32_t group, uint32_t nr);
int fault_many(struct queue *q, uint32_t nr);
long long get(int file, void *to, size_t size);
long long put(int file, const void *from, size_t size);
long long answer(struct queue *q, uint32_t cookie, uint32_t code);
long long drain(struct queue *q);
int events(struct queue *q);
bool open_queue(struct queue *q);
void close_queue(struct queue *q);

#endif
