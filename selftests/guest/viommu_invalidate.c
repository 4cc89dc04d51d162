// SPDX-License-Identifier: GPL-2.0-only
/* IOMMU_HWPT_INVALIDATE: which calls are refused, and how many requests are carried out. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "viommu.h"

#define HWPT_TYPE	IOMMU_HWPT_INVALIDATE_DATA_SELFTEST
#define VIOMMU_TYPE	IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST

/* More than a block of the kernel's. */
#define MANY		5000u

static struct iommu_hwpt_invalidate_selftest requests[MANY];
static struct iommu_viommu_invalidate_selftest device_requests[MANY];

static void refused(struct fixture *none)
{
	/*
	 * The C mock allocates memory for all requests, and an allocation of that size is a WARN.
	 */
	const uint32_t most = on_c_module() ? MANY : MAX_REQUESTS;
	struct iommu_hwpt_invalidate cmd;
	struct caches c;
	uint32_t i;
	int fd;

	if (!open_caches(&c))
		return;
	fd = c.g.fd;
	memset(requests, 0, sizeof(requests));
	for (i = 0; i < 2; i++) {
		const uint32_t target = i ? c.g.viommu : c.hwpt;
		const uint32_t type = i ? VIOMMU_TYPE : HWPT_TYPE;
		const uint32_t len = i ? sizeof(device_requests[0]) : sizeof(requests[0]);

		WANT_DONE_WHY(fd, invalidate(fd, target, type, NULL, len, 1), -EINVAL, 0, "invalidate-array");
		WANT_DONE_WHY(fd, invalidate(fd, target, type, requests, 0, 1), -EINVAL, 0, "invalidate-array");
		WANT_DONE_WHY(fd, invalidate(fd, target, type, requests, PAGE + 1, 1), -EINVAL, 0,
			      "invalidate-array");
		WANT_DONE_WHY(fd, invalidate(fd, target, type, requests, ~0u, 1), -EINVAL, 0,
			      "invalidate-array");
		WANT_DONE_WHY(fd, invalidate(fd, target, type, requests, len, MAX_REQUESTS + 1),
			      -EINVAL, 0, "invalidate-array");
		WANT_DONE_WHY(fd, invalidate(fd, target, type, requests, len, ~0u), -EINVAL, 0,
			      "invalidate-array");
		WANT_DONE_WHY(fd, invalidate(fd, target, type + 1, requests, len, 1), -EINVAL, 0,
			      "invalidate-request");
		WANT_DONE_WHY(fd, invalidate(fd, target, type, mem.gone, len, 1), -EFAULT, 0,
			      "invalidate-request");
		WANT_DONE_WHY(fd, invalidate(fd, target, type, (void *)-PAGE, len, most), -EFAULT,
			      0, "invalidate-request");
		/* Without requests the call asks whether the type is supported. */
		WANT_DONE(invalidate(fd, target, type, NULL, 0, 0), 0, 0);
		WANT_DONE(invalidate(fd, target, type, mem.gone, ~0u, 0), 0, 0);
		WANT_DONE_WHY(fd, invalidate(fd, target, type + 1, NULL, 0, 0), -EINVAL, 0, "invalidate-request");

		cmd = (struct iommu_hwpt_invalidate){
			.size = sizeof(cmd), .hwpt_id = target, .data_uptr = PTR(requests),
			.data_type = type, .entry_len = len, .entry_num = 1, .__reserved = 1,
		};
		WANT_WHY(fd, call(fd, IOMMU_HWPT_INVALIDATE, &cmd), -EOPNOTSUPP, "command-reserved");
		WANT(cmd.entry_num, 0);
		cmd.__reserved = 0;
		cmd.size = offsetof(struct iommu_hwpt_invalidate, __reserved);
		WANT_WHY(fd, call(fd, IOMMU_HWPT_INVALIDATE, &cmd), -EINVAL, "command-too-short");
	}
	for (i = 0; i < 4; i++) {
		WANT(iotlb_is(fd, c.hwpt, i, IOTLB), 0);
		WANT(cache_is(fd, c.g.dev_id, i, CACHED), 0);
	}
	/* Ids of other objects, and ids without an object. */
	WANT_DONE_WHY(fd, forget_iotlb(fd, c.g.ioas, ALL, 0), -EINVAL, 0, "object-kind");
	WANT_DONE_WHY(fd, forget_iotlb(fd, c.g.parent, ALL, 0), -EINVAL, 0, "object-kind");
	WANT_DONE_WHY(fd, forget_iotlb(fd, c.g.dev_id, ALL, 0), -EINVAL, 0, "object-kind");
	WANT_DONE_WHY(fd, forget_iotlb(fd, c.vdev, ALL, 0), -EINVAL, 0, "object-kind");
	WANT_DONE_WHY(fd, forget_iotlb(fd, NO_ID, ALL, 0), -ENOENT, 0, "object-none");
	WANT_DONE_WHY(fd, forget_iotlb(fd, 0, ALL, 0), -ENOENT, 0, "object-none");
	/* The struct cannot be written back: the request is carried out all the same. */
	cmd = (struct iommu_hwpt_invalidate){
		.size = sizeof(cmd), .hwpt_id = c.hwpt, .data_uptr = PTR(requests),
		.data_type = HWPT_TYPE, .entry_len = sizeof(requests[0]), .entry_num = 1,
	};
	WANT_WHY(fd, call(fd, IOMMU_HWPT_INVALIDATE, read_only(&cmd, sizeof(cmd))), -EFAULT,
		 "user-memory");
	WANT(iotlb_is(fd, c.hwpt, 0, 0), 0);
	WANT(iotlb_is(fd, c.hwpt, 1, IOTLB), 0);
	close_caches(&c);
}

static void one_by_one(struct fixture *none)
{
	struct caches c;
	uint32_t i;
	int fd;

	if (!open_caches(&c))
		return;
	fd = c.g.fd;
	WANT_DONE_WHY(fd, forget_iotlb(fd, c.hwpt, 2, 0), -EOPNOTSUPP, 0, "invalidate-request");
	WANT_DONE_WHY(fd, forget_iotlb(fd, c.hwpt, 0, 4), -EINVAL, 0, "invalidate-request");
	WANT_DONE_WHY(fd, forget_iotlb(fd, c.hwpt, 0, ~0u), -EINVAL, 0, "invalidate-request");
	WANT_DONE_WHY(fd, forget_cache(fd, c.g.viommu, VIRT_ID, 2, 0), -EOPNOTSUPP, 0, "invalidate-request");
	WANT_DONE_WHY(fd, forget_cache(fd, c.g.viommu, VIRT_ID, 0, 4), -EINVAL, 0, "invalidate-request");
	WANT_DONE_WHY(fd, forget_cache(fd, c.g.viommu, VIRT_ID + 1, 0, 0), -EINVAL, 0, "invalidate-request");
	WANT_DONE_WHY(fd, forget_cache(fd, c.g.viommu, 0, ALL, 0), -EINVAL, 0, "invalidate-request");
	for (i = 0; i < 4; i++) {
		WANT(iotlb_is(fd, c.hwpt, i, IOTLB), 0);
		WANT(cache_is(fd, c.g.dev_id, i, CACHED), 0);
		WANT_DONE(forget_iotlb(fd, c.hwpt, 0, i), 0, 1);
		WANT_DONE(forget_cache(fd, c.g.viommu, VIRT_ID, 0, i), 0, 1);
		WANT(iotlb_is(fd, c.hwpt, i, 0), 0);
		WANT(cache_is(fd, c.g.dev_id, i, 0), 0);
	}
	close_caches(&c);
}

/* Request number `bad` is wrong: those before it are carried out and counted, in all blocks. */
static void counted(struct fixture *none)
{
	static const uint32_t bad[] = { 0, 1, 2, 62, 63, 64, 1023, 1024, 1025, 4096, MANY - 1 };
	struct caches c;
	size_t i;
	int fd;

	if (!open_caches(&c))
		return;
	fd = c.g.fd;
	memset(requests, 0, sizeof(requests));
	for (i = 0; i < MANY; i++)
		device_requests[i] = (struct iommu_viommu_invalidate_selftest){
			.vdev_id = VIRT_ID, .cache_id = i % 4,
		};
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		requests[bad[i]].flags = 2;
		WANT_DONE_WHY(fd,
			      invalidate(fd, c.hwpt, HWPT_TYPE, requests, sizeof(requests[0]), MANY),
			      -EOPNOTSUPP, bad[i], "invalidate-request");
		requests[bad[i]].flags = 0;
		device_requests[bad[i]].cache_id = 4;
		WANT_DONE_WHY(fd,
			      invalidate(fd, c.g.viommu, VIOMMU_TYPE, device_requests,
					 sizeof(device_requests[0]), MANY),
			      -EINVAL, bad[i], "invalidate-request");
		device_requests[bad[i]].cache_id = bad[i] % 4;
	}
	WANT_DONE(invalidate(fd, c.hwpt, HWPT_TYPE, requests, sizeof(requests[0]), MANY), 0, MANY);
	WANT_DONE(invalidate(fd, c.g.viommu, VIOMMU_TYPE, device_requests,
			     sizeof(device_requests[0]), MANY), 0, MANY);
	close_caches(&c);
}

/*
 * Four of five requests can be read. The mock reads those for page tables one by one, so four are
 * carried out, and those for a vIOMMU all at once, so none is.
 */
static void cut_array(struct fixture *none)
{
	struct iommu_hwpt_invalidate_selftest four[4] = { { 0, 0 }, { 0, 1 }, { 0, 2 }, { 0, 3 } };
	struct iommu_viommu_invalidate_selftest of_device[4];
	struct caches c;
	uint32_t i;
	int fd;

	if (!open_caches(&c))
		return;
	fd = c.g.fd;
	for (i = 0; i < 4; i++)
		of_device[i] = (struct iommu_viommu_invalidate_selftest){
			.vdev_id = VIRT_ID, .cache_id = i,
		};
	WANT_DONE_WHY(fd,
		      invalidate(fd, c.hwpt, HWPT_TYPE, guarded(four, sizeof(four)),
				 sizeof(four[0]), 5),
		      -EFAULT, 4, "invalidate-request");
	for (i = 0; i < 4; i++)
		WANT(iotlb_is(fd, c.hwpt, i, 0), 0);
	WANT_DONE_WHY(fd,
		      invalidate(fd, c.g.viommu, VIOMMU_TYPE, guarded(of_device, sizeof(of_device)),
				 sizeof(of_device[0]), 5),
		      -EFAULT, 0, "invalidate-request");
	for (i = 0; i < 4; i++)
		WANT(cache_is(fd, c.g.dev_id, i, CACHED), 0);
	close_caches(&c);
}

/* The largest number of requests in a call. */
static void most(struct fixture *none)
{
	const size_t size = (size_t)MAX_REQUESTS * sizeof(requests[0]);
	struct caches c;
	void *array;

	if (!open_caches(&c))
		return;
	array = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(array != MAP_FAILED);
	WANT_DONE(invalidate(c.g.fd, c.hwpt, HWPT_TYPE, array, sizeof(requests[0]), MAX_REQUESTS),
		  0, MAX_REQUESTS);
	munmap(array, size);
	close_caches(&c);
}

/* A process is killed during a call: it ends with the block of requests that the kernel's driver has been given. */
static void killed(struct fixture *none)
{
	const size_t size = (size_t)MAX_REQUESTS * sizeof(requests[0]);
	uint32_t done = 0;
	struct caches c;
	void *array;

	if (!open_caches(&c))
		return;
	array = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	CHECK(array != MAP_FAILED);
	for (unsigned int try = 0; try < 200; try++) {
		struct iommu_hwpt_invalidate cmd = {
			.size = sizeof(cmd), .hwpt_id = c.hwpt, .data_uptr = PTR(array),
			.data_type = HWPT_TYPE, .entry_len = sizeof(requests[0]), .entry_num = MAX_REQUESTS,
		};

		/* The call writes how many were carried out also if it is killed. */
		if (!killed_in(c.g.fd, IOMMU_HWPT_INVALIDATE, &cmd, 50 * try))
			break;
		done = cmd.entry_num;
		if (done && done < MAX_REQUESTS)
			break;
	}
	note("%u requests of %u were carried out", done, MAX_REQUESTS);
	if (on_c_module()) {
		CHECK(!done || done == MAX_REQUESTS);
	} else {
		CHECK(done && done < MAX_REQUESTS);
		WANT(done % 1024, 0);
	}
	munmap(array, size);
	close_caches(&c);
}

static atomic_bool stop;

/* Changes a request from valid to invalid and back while the kernel reads it. */
static void *change(void *arg)
{
	while (!atomic_load(&stop)) {
		requests[1].iotlb_id = ~0u;
		atomic_thread_fence(memory_order_seq_cst);
		requests[1].iotlb_id = 1;
	}
	return NULL;
}

/* A request is read once: what is checked is what is carried out. */
static void changing(struct fixture *none)
{
	pthread_t thread;
	struct caches c;
	unsigned int i;

	if (!open_caches(&c))
		return;
	memset(requests, 0, sizeof(requests));
	atomic_store(&stop, false);
	CHECK(!pthread_create(&thread, NULL, change, NULL));
	for (i = 0; i < 2000; i++) {
		struct outcome o = invalidate(c.g.fd, c.hwpt, HWPT_TYPE, requests,
					      sizeof(requests[0]), 3);

		if (!(o.r == 0 && o.done == 3) && !(o.r == -EINVAL && o.done == 1))
			fail("round %u: %s, %u done", i, errno_name(o.r), o.done);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	WANT(iotlb_is(c.g.fd, c.hwpt, 2, IOTLB), 0);
	WANT(iotlb_is(c.g.fd, c.hwpt, 3, IOTLB), 0);
	close_caches(&c);
}

static const struct test tests[] = {
	{ "refused calls", refused, ALONE },
	{ "one request in a call", one_by_one, ALONE },
	{ "the count of requests before a wrong one", counted, ALONE },
	{ "an array that ends too early", cut_array, ALONE },
	{ "the largest number of requests", most, ALONE },
	{ "a process is killed that invalidates much", killed, ALONE },
	{ "requests that change while they are read", changing, ALONE },
};

const struct suite invalidate_suite = {
	.name = "invalidate", .tests = tests, .nr_tests = ARRAY_SIZE(tests),
};
