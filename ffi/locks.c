// SPDX-License-Identifier: GPL-2.0-only
/* Locks that sleep: bodies of functions of shims.h. */
#include <linux/delay.h>
#include <linux/mutex.h>
#include <linux/osq_lock.h>
#include <linux/rwsem.h>

#include "shims.h"

/* Any task that holds several semaphores of the class must hold @outer. */
void iommufd_rs_down_write_under(struct rw_semaphore *sem,
				 struct rw_semaphore *outer)
{
	down_write_nest_lock(sem, outer);
}

/* Returns -EINTR if the task is being killed. */
int iommufd_rs_mutex_lock_killable(struct mutex *lock)
{
	return mutex_lock_killable(lock);
}

#ifdef CONFIG_PREEMPT_RT
/* There a task cannot take a lock for which a task of the same priority waits. */
#define waiter_of(lock) false
#else
#ifdef CONFIG_LOCK_SPIN_ON_OWNER
#define spinner_of(lock) osq_is_locked(&(lock)->osq)
#else
#define spinner_of(lock) false
#endif
/* Whether a task waits for a mutex or a rw_semaphore: spinning, or in the list of those that sleep. */
#define waiter_of(lock) (spinner_of(lock) || data_race((lock)->first_waiter))
#endif

/*
 * Gives tasks that wait for @lock, which the caller has released and will take again, time to take it. One that
 * spins has it in less than a microsecond; one that sleeps must be woken.
 */
#define let_waiters_in(lock)						\
do {									\
	unsigned int looks;						\
									\
	for (looks = 0; waiter_of(lock); looks++) {			\
		if (looks == 32) {					\
			usleep_range(10, 50);				\
			break;						\
		}							\
		cpu_relax();						\
	}								\
} while (0)

void iommufd_rs_mutex_let_waiters_in(struct mutex *lock)
{
	let_waiters_in(lock);
}

void iommufd_rs_rwsem_let_waiters_in(struct rw_semaphore *sem)
{
	let_waiters_in(sem);
}
