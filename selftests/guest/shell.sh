# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash
# The guest of `make shell`: loads the module, binds an igb to vfio-pci, and starts a shell.

load_iommufd
load_vfio
bind_igb

echo
echo "$MODULE.ko provides /dev/iommu; $BDF is bound to vfio-pci as $CDEV."
echo "Programs are in /programs, modules in /modules, functions in /lib/guest.sh."
echo "'exit' or Ctrl-A x ends the guest."
echo
export BDF CDEV MODULE ENV=/lib/guest.sh PS1='guest:\w# '
setsid sh -c "exec sh -i <>/dev/$CONSOLE >&0 2>&0"
