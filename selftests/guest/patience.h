/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included before all else in the kernel's vfio selftests. Their igb driver looks 200 times, a
 * millisecond apart, whether the card is done, which is enough for a real one. An emulated card on a
 * busy machine may need longer: that many looks take 10 times as long here.
 */
#include <unistd.h>

#define usleep(us) usleep((us) == 1000 ? 10000 : (us))
