/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The uAPI tests: wrong input to every ioctl, the exact errno, and nothing changed afterwards.
 *
 * A row is one call. A test is a few calls that belong together. Each is one KTAP result and
 * each runs on a fixture: an iommufd with two IOASes, the first of them attached to the device if
 * the fixture has a domain. One page stays mapped at HELD_IOVA in both, so that a call which
 * disturbs a mapping is seen.
 */
#ifndef UAPI_H
#define UAPI_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include <linux/iommufd.h>
#include <linux/vfio.h>

/* Rows begin with a call that works and override a field of it; not all tests need a fixture. */
#pragma GCC diagnostic ignored "-Woverride-init"
#pragma GCC diagnostic ignored "-Wunused-parameter"

#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define HELD_IOVA	0x10000000UL
#define FREE_IOVA	0x20000000UL
#define MSI_IOVA	0xfee00000UL
#define NO_ID		0x40000000u
#define TOP		UINT64_MAX

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define PTR(p)		((uint64_t)(uintptr_t)(p))

#define READ		IOMMU_IOAS_MAP_READABLE
#define WRITE		IOMMU_IOAS_MAP_WRITEABLE
#define FIXED		IOMMU_IOAS_MAP_FIXED_IOVA

/* Memory of every kind, made once at the start. */
struct memory {
	char *rw;	/* 16 touched pages */
	char *ro;	/* 2 pages without PROT_WRITE, touched before */
	char *none;	/* 2 pages of PROT_NONE */
	char *hole;	/* 16 pages of which page 5 is not there */
	char *shared;	/* 16 shared pages, to be had by children too */
	char *gone;	/* an address with nothing at it */
	char *registers; /* the device's own, on a fixture with a domain */
};

extern struct memory mem;

struct fixture {
	bool domain;
	int fd;
	int dev;		/* the VFIO device or -1 */
	uint32_t dev_id;
	uint32_t ioas;
	uint32_t other;
	uint32_t hwpt;		/* what attaching to ioas made, 0 without a domain */
	long idle_pins;		/* what is pinned with nothing mapped */
};

struct answer {
	int no_domain;		/* errno without a domain */
	int domain;		/* errno with one */
};

#define SAME(e)		{ (e), (e) }

union command {
	__u32 size;
	struct iommu_destroy destroy;
	struct iommu_ioas_alloc alloc;
	struct iommu_ioas_iova_ranges ranges;
	struct iommu_ioas_allow_iovas allow;
	struct iommu_ioas_map map;
	struct iommu_ioas_map_file file;
	struct iommu_ioas_copy copy;
	struct iommu_ioas_unmap unmap;
	struct iommu_option option;
	struct iommu_hwpt_alloc hwpt;
	struct iommu_hw_info info;
	struct iommu_hwpt_set_dirty_tracking track;
	struct iommu_hwpt_get_dirty_bitmap dirty;
	struct iommu_ioas_change_process process;
	struct iommu_ioas_noiommu_get_pa pa;
	struct vfio_device_bind_iommufd bind;
	struct vfio_device_attach_iommufd_pt attach;
	struct vfio_device_detach_iommufd_pt detach;
};

enum row_flags {
	ANSWERS = 1,		/* writes to its struct although it fails */
	ON_DEVICE = 2,		/* a VFIO ioctl, on the device's fd */
	COMPARE = 4,		/* its struct is compared, set for every row that does not answer */
};

/*
 * Where the C module answers against its contract, finding says which line of the table of
 * differences, want is the contract and c is what the C module does.
 */
struct row {
	const char *name;
	unsigned long cmd;
	union command arg;
	struct answer want;
	const char *finding;
	struct answer c;
	unsigned int flags;
};

enum needs {
	NO_DOMAIN = 1,		/* runs on a fixture without a domain */
	DOMAIN = 2,		/* runs on one with a domain */
	ALONE = 4,		/* needs no fixture: the device is closed, fds are its own business */
};

struct test {
	const char *name;
	void (*run)(struct fixture *f);
	unsigned int needs;
};

/* A group of tests: rows(b) builds its table on a fixture and gives it to run_rows(). */
struct suite {
	const char *name;
	void (*rows)(struct fixture *f);
	unsigned int needs;	/* of the rows */
	const struct test *tests;
	unsigned int nr_tests;
};

extern const struct suite format_suite, ioas_suite, option_suite, map_suite, unmap_suite;
extern const struct suite file_suite, copy_suite, device_suite, hwpt_suite, limit_suite;
extern const struct suite life_suite, dirty_suite, process_suite;

/* What a program runs: uapi_suites.c, or the program's own. */
extern const struct suite *const suites[];
extern const unsigned int nr_suites;

/* uapi.c: results. */
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void skip(const char *why);
bool has_failed(void);
const char *errno_name(long long r);
void run_rows(struct fixture *f, const struct row *rows, size_t nr);
void run_call(struct fixture *f, const struct row *row, void *arg);
bool planning(size_t nr);
bool on_c_module(void);

/* In a test: stop at the first thing that is not so. Errors are compared as negative errnos. */
#define CHECK(cond) do {							\
	if (!(cond)) {								\
		fail("%s:%d: not so: %s", __FILE_NAME__, __LINE__, #cond);	\
		return;								\
	}									\
} while (0)

#define WANT(expr, value) do {							\
	long long __got = (expr), __want = (value);				\
	if (__got != __want) {							\
		fail("%s:%d: %s: got %s, expected %s", __FILE_NAME__, __LINE__,	\
		     #expr, errno_name(__got), errno_name(__want));		\
		return;								\
	}									\
} while (0)

/* The same with different answers of the C module and of the contract. */
#define WANT_FINDING(finding, expr, contract, c_answer) \
	WANT(expr, on_c_module() ? (long long)(c_answer) : (long long)(contract))

/* uapi_call.c: the ioctls, each returning 0, a byte count or a negative errno. */
int call(int fd, unsigned long cmd, void *arg);
int open_iommu(void);
int ioas_alloc(int fd, uint32_t *id);
int destroy(int fd, uint32_t id);
int map(int fd, uint32_t ioas, const void *va, uint64_t length, uint64_t iova);
int map_as(int fd, uint32_t ioas, uint32_t flags, const void *va, uint64_t length, uint64_t *iova);
int map_file(int fd, uint32_t ioas, uint32_t flags, int file, uint64_t start, uint64_t length,
	     uint64_t *iova);
int copy(int fd, uint32_t src, uint64_t src_iova, uint64_t length, uint32_t flags, uint32_t dst,
	 uint64_t *dst_iova);
long long unmap(int fd, uint32_t ioas, uint64_t iova, uint64_t length);
long long unmap_all(int fd, uint32_t ioas);
int allow(int fd, uint32_t ioas, const struct iommu_iova_range *ranges, uint32_t nr);
int option(int fd, uint32_t id, uint16_t op, uint32_t object, uint64_t *value);
int set_option(int fd, uint32_t id, uint32_t object, uint64_t value);
long long get_option(int fd, uint32_t id, uint32_t object);
int hwpt_alloc(int fd, uint32_t dev_id, uint32_t pt_id, uint32_t *id);
int bind_device(int dev, int fd, uint32_t *dev_id);
int attach(int dev, uint32_t pt_id, uint32_t *out);
int detach(int dev);

/* uapi_child.c: parts of a test in another process, and as another user. */
#define NOBODY		1000
bool in_child(struct fixture *f, unsigned int uid, void (*run)(struct fixture *f));
int start_child(struct fixture *f, unsigned int uid, void (*run)(struct fixture *f));
bool child_done(int pid);
bool limit_memlock(unsigned long nr_pages);

/* uapi_fixture.c: fixtures, what can be seen of their state, and memory. */
extern const char *device_path;
void make_memory(void);
bool open_fixture(struct fixture *f, bool domain);
void close_fixture(struct fixture *f);
bool restore(struct fixture *f);
long pinned(void);
long own_pinned(void);
long own_locked(void);
void *guarded(const void *arg, size_t size);
void *cut_off(const void *arg, size_t size);
void *read_only(const void *arg, size_t size);
int memory_file(size_t size, unsigned int flags);
uint64_t phys_of(const void *p);

#define MAX_RANGES	16
#define MAX_IDS		32	/* ids looked at for every row */
#define LAST_ID		160	/* ids that a test may leave */

struct state {
	struct {
		uint32_t nr;
		struct iommu_iova_range ranges[MAX_RANGES];
		uint64_t alignment;
		long long huge_pages;
	} ioas[2];
	bool is_ioas[MAX_IDS];
	long long rlimit_mode;
	long pins;
	long own_pins;
};

void look(struct fixture *f, struct state *s);
void check_unchanged(struct fixture *f, const struct state *before);
int iova_ranges(int fd, uint32_t ioas, struct iommu_iova_range *ranges, uint32_t *nr,
		uint64_t *alignment);

#endif
