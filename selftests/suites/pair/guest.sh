# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=dash

load_iommufd
load_vfio
bind_igb
export BDF FIRST_BDF="$BDF"
run hw-info "$CDEV"
bind_igb
export SECOND_BDF="$BDF"
run hw-info "$CDEV"

# iommu_of BDF: print the IOMMU that translates for a device.
iommu_of() { readlink -f "/sys/bus/pci/devices/$1/iommu"; }

iommus=$( (iommu_of "$FIRST_BDF"; iommu_of "$SECOND_BDF") | sort -u | wc -l)
echo "$FIRST_BDF and $SECOND_BDF are behind $iommus IOMMU(s)"
case $(uname -m) in
aarch64) wanted=2 ;;
*) wanted=1 ;;
esac
[ "$iommus" = "$wanted" ] || die "both cards together have $iommus IOMMU(s), not $wanted"
if [ "$iommus" = 2 ]; then export TWO_IOMMUS=yes; fi

run pair none
