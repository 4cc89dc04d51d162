// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes a few calls, for others to watch: three maps of 1, 2 and 3 pages for a mock device, of which two
 * are unmapped, and a map that is refused. Usage: few_calls
 */
#include <stdio.h>
#include <sys/mman.h>

#include "call.h"
#include "iommufd_test.h"

int main(void)
{
	struct iommu_test_cmd mock = { .size = sizeof(mock), .op = IOMMU_TEST_OP_MOCK_DOMAIN };
	uint64_t iova = 0x10000000;
	uint32_t ioas = 0;
	char *memory;
	int fd, i, r;

	memory = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd = open_iommu();
	r = fd < 0 ? fd : ioas_alloc(fd, &ioas);
	mock.id = ioas;
	if (!r)
		r = call(fd, IOMMU_TEST_CMD, &mock);
	for (i = 1; !r && i <= 3; i++)
		r = map(fd, ioas, memory, i * PAGE, i * iova);
	if (!r && map(fd, ioas, memory, PAGE, iova) != -EEXIST)
		r = -EINVAL;
	if (!r && unmap(fd, ioas, 2 * iova, 2 * PAGE) != 2 * PAGE)
		r = -EINVAL;
	if (!r && unmap(fd, ioas, iova, PAGE) != PAGE)
		r = -EINVAL;
	if (r)
		fprintf(stderr, "few_calls: %d\n", r);
	return r ? 1 : 0;
}
