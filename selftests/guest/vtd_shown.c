// SPDX-License-Identifier: GPL-2.0-only
/* See vtd_shown.h. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "result.h"
#include "vtd_shown.h"

#define SHOWN	"/sys/kernel/debug/iommu/intel/"

static FILE *shown(const char *path)
{
	FILE *file = fopen(path, "r");

	if (!file)
		fail("%s is not shown: %s", path, errno_name(-errno));
	return file;
}

struct shown_entry read_pasid_entry(const char *bdf, uint32_t pasid)
{
	FILE *file = shown(SHOWN "dmar_translation_struct");
	struct shown_entry entry = { { 0 } };
	uint64_t *word = entry.word;
	unsigned int bus, slot, function;
	char line[256], place[16];

	if (sscanf(bdf, "%*x:%x:%x.%x", &bus, &slot, &function) != 3)
		fail("%s is no address of a device", bdf);
	/* As the driver writes it. */
	snprintf(place, sizeof(place), "%02x:%02x.%x", bus, slot, function);
	while (file && fgets(line, sizeof(line), file)) {
		char *end;

		/* Bus, device and function; entries of the root and context tables; the PASID. */
		if (strncmp(line, place, strlen(place)))
			continue;
		strtok_r(line, "\t", &end);
		strtok_r(NULL, "\t", &end);
		strtok_r(NULL, "\t", &end);
		if (strtoul(strtok_r(NULL, "\t", &end), NULL, 10) != pasid)
			continue;
		if (sscanf(end, "%" SCNx64 ":%" SCNx64 ":%" SCNx64, &word[2], &word[1], &word[0]) != 3)
			fail("the entry is %s", end);
	}
	if (file)
		fclose(file);
	return entry;
}

struct shown_entry read_entry(const char *bdf)
{
	return read_pasid_entry(bdf, 0);
}

uint32_t nested_type(void)
{
	FILE *file = shown("/sys/module/dmar/parameters/claim");
	int claim = file ? fgetc(file) : 'N';

	if (file)
		fclose(file);
	return claim == 'Y' ? NESTED : FIRST_STAGE;
}

static void read_queue(struct shown_queue *queue)
{
	FILE *file = shown(SHOWN "invalidation_queue");

	if (!file)
		return;
	if (fscanf(file, "Invalidation queue on IOMMU: %*s Base: %*s Head: %u Tail: %u", &queue->head,
		   &queue->tail) != 2 || fscanf(file, " Index qw0 qw1 qw2 qw3 status") != 0)
		fail("the driver does not show its queue");
	for (uint32_t n = 0; n < QUEUE; n++) {
		uint64_t *word = queue->word[n];

		if (fscanf(file, "%*u %" SCNx64 " %" SCNx64 " %*x %*x %*x", &word[0], &word[1]) != 2) {
			fail("the driver shows %u descriptors", n);
			break;
		}
	}
	fclose(file);
}

void begin_submissions(struct submitted *s)
{
	read_queue(&s->before);
}

void end_submissions(struct submitted *s)
{
	bool waits = true;

	read_queue(&s->after);
	s->descriptors = s->waits = 0;
	for (uint32_t at = s->before.tail; at != s->after.tail; at = (at + 1) % QUEUE) {
		const uint64_t *word = s->after.word[at];

		waits = TYPE_OF(word[0]) == TYPE_WAIT;
		if (waits)
			s->waits++;
		else
			memcpy(s->word[s->descriptors++], word, sizeof(s->word[0]));
	}
	if (!waits)
		fail("nothing waits for the last descriptor");
	if (s->after.head != s->after.tail)
		fail("the queue is not empty");
}

bool fail_submission(unsigned int nth)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", nth);
	return write_to("/sys/module/dmar/parameters/fail_submission", text);
}

uint64_t shown_register(const char *bdf, const char *name)
{
	unsigned long long value = 0;
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu/intel-iommu/%s", bdf, name);
	file = shown(path);
	if (file && fscanf(file, "%llx", &value) != 1)
		fail("%s has no number", path);
	if (file)
		fclose(file);
	return value;
}
