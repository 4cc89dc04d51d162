# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

# users: print the use count of the module under test.
users() { cat "/sys/module/$NAME/refcnt"; }

NAME=$(echo "$MODULE" | tr - _)

echo "Linux $(uname -r) $(uname -m), booted with no iommufd:"
echo "  /dev/iommu: $(ls /dev/iommu 2>/dev/null || echo absent)"
echo
echo "insmod $MODULE.ko"
load_iommufd
echo "  /dev/iommu: $(ls -l /dev/iommu | awk '{ print $1, "major", $5, "minor", $6 }')"
before=$(users)
exec 3</dev/iommu
echo "  users of $NAME: $before, and $(users) while /dev/iommu is open"
[ "$(users)" = $((before + 1)) ] || die "opening /dev/iommu does not count as a user of $NAME"
exec 3<&-

load_vfio
echo "  modules now: $(cut -d ' ' -f 1 /proc/modules | tr '\n' ' ')"
echo "  vfio is linked to: $(ls -d /sys/module/*/holders/vfio | cut -d / -f 4 | tr '\n' ' ')"
[ -e "/sys/module/$NAME/holders/vfio" ] || die "vfio does not use the symbols of $NAME"
bind_igb
echo "  $BDF (igb) is bound to vfio-pci: $CDEV"
echo

run demo "$BDF"

echo
echo "pinned pages: $(vmstat nr_foll_pin_acquired) pinned, $(vmstat nr_foll_pin_released) unpinned"
echo "rmmod $(cut -d ' ' -f 1 /proc/modules | tr '\n' ' ')"
