# SPDX-License-Identifier: GPL-2.0-only
# People's entry point. The kernel's build, which comes here with M=, reads Kbuild instead.
#
# ARCH, BENCH, COUNT, ROWS, FLAVOUR, KDIR, SUITES, MODULE, JOBS and TIME are explained by `make help`.

# Empty unless somebody says: then the module is built for x86-64, and each suite runs where it belongs.
ARCH ?=
FLAVOUR ?= plain
MODULE ?= rust
SUITE ?= vfio-vtd
JOBS ?= 2
# Minutes, with or without an m.
TIME ?=
COUNT ?= time
BENCH ?= bench
ROWS ?=
# Empty for the one that scripts/lib.sh takes.
TOOLCHAIN ?=
export ARCH FLAVOUR KDIR OUT INSTALL_MOD_PATH TOOLCHAIN

# Options of the module, given as on the kernel's own make: make CONFIG_IOMMUFD_RS_TEST=y
OPTIONS := $(foreach name,$(filter CONFIG_IOMMUFD_RS_%,$(.VARIABLES)),$(name)=$($(name)))
VERBOSE := $(if $(V),V=$(V))

# What is entered is the toolchain root; it is made when first needed, and so is the test kernel.
runner := scripts/enter python3 -B selftests/runner --module $(MODULE) $(addprefix --arch ,$(ARCH)) \
	$(addprefix --option ,$(OPTIONS))

.PHONY: all toolchain kernel modules modules_check modules_install programs run demo-vm test fuzz coverage coverage-page soak bench bench-page bench-vm suites shell fmt fmt-check clippy clean clean-cache help

all: modules

toolchain:
	@scripts/toolchain.sh

kernel:
	@scripts/kernel.sh $(FLAVOUR)

modules:
	@scripts/module.sh build $(OPTIONS) $(VERBOSE)

modules_check:
	@scripts/module.sh check $(OPTIONS)

programs:
	@scripts/programs.sh

modules_install: modules
	@scripts/module.sh install $(OPTIONS) $(VERBOSE)

run:
	@$(runner) demo demo

demo-vm:
	@$(runner) demo l2-demo

bench-vm:
	@$(runner) demo l2-bench

test:
	@$(runner) test --jobs $(JOBS) $(addprefix --time ,$(TIME:%m=%)) --rows '$(ROWS)' $(SUITES)

fuzzed := build/logs/fuzz-long.log

# Then how many programs a second, those for the corpus, and by file, which lines were reached.
fuzz:
	@rm -f $(fuzzed); $(runner) test $(addprefix --time ,$(TIME:%m=%)) fuzz-long; status=$$?; \
		[ -e $(fuzzed) ] || exit $$status; \
		sed -nE 's/^ *[0-9.]+ guest  (# .* programs.* a second.*|\+ .*)$$/\1/p' $(fuzzed); \
		$(cover) $(fuzzed) $(call covered,fuzz) && exit $$status

# Suites that print what they reach, by their kernel.
cover_fuzz := fuzz-cover cover-vtd cover-bare cover-mixed cover-pieces cover-locks cover-native-amd
cover_nest := cover-native-vtd cover-native-vtd-pasid
cover := scripts/enter python3 -B selftests/fuzz/coverage.py
covered = build/x86_64/$(1)/module+test/iommufd-rs.ko

cover_runs = $(patsubst %,build/logs/%.log,$(cover_fuzz)) $(call covered,fuzz) \
	$(patsubst %,build/logs/%.log,$(cover_nest)) $(call covered,fuzz-vtd-nest)

coverage:
	@$(runner) test --jobs $(JOBS) $(cover_fuzz) $(cover_nest); status=$$?; \
		$(cover) $(cover_runs) --judge && exit $$status

# Of the last run of that.
coverage-page:
	@$(cover) $(cover_runs) --page=$$(git describe --always --dirty --abbrev=10) >build/coverage.rst
	@mv build/coverage.rst Documentation/coverage.rst

soak:
	@$(runner) test $(addprefix --time ,$(TIME:%m=%)) soak

bench:
	@$(runner) bench $(addprefix --count ,$(COUNT)) --rows '$(ROWS)' \
		--commit "$$(git describe --always --dirty --abbrev=10 2>/dev/null || echo unknown)" $(BENCH)

bench-page:
	@$(runner) page

suites:
	@$(runner) list

shell:
	@$(runner) shell $(SUITE)

fmt:
	@scripts/format.sh

fmt-check:
	@scripts/format.sh --check

clippy:
	@OUT=$(CURDIR)/build/$(or $(ARCH),x86_64)/$(FLAVOUR)/clippy KDIR= scripts/module.sh clippy $(OPTIONS) $(VERBOSE)

clean:
	rm -rf build

clean-cache:
	@scripts/clean-cache.sh

help:
	@echo 'make                  build the toolchain root, the test kernel and the module for it'
	@echo 'make run              boot a guest and show a program driving a device through /dev/iommu'
	@echo 'make demo-vm          show a guest inside the guest download through a device that its QEMU gave it'
	@echo 'make test             run the test suites'
	@echo '  SUITES="a b"        only these; SUITES=rest for the others, which take long or a kernel of their own; all for both'
	@echo '  ARCH=arm64          only those of an architecture (x86_64, arm64)'
	@echo '  MODULE=c            with the C iommufd.ko instead of ours'
	@echo '  JOBS=1              one guest after the other instead of two at a time'
	@echo "  ROWS='*left-out'    with SUITES=fuzz-mistakes, only the mistakes that match"
	@echo 'make fuzz             compare the C and the Rust module by random programs, guided by what code they reach'
	@echo '  TIME=10m            so many minutes'
	@echo 'make coverage         list the lines that the fuzzer and tests reach; fail if others are not explained, or too many'
	@echo 'make coverage-page    write that into Documentation/coverage.rst'
	@echo 'make soak             start and kill guests, reset and unplug a card, with little memory, for an hour or TIME='
	@echo 'make bench            measure the C and the Rust module in one guest, side by side'
	@echo '  COUNT=instructions  in instructions, which are the same on every machine, rather than in time'
	@echo '  COUNT=functions     in instructions, by the function of the kernel that executes them; with ROWS'
	@echo '  BENCH=bench-mock    beside many mock devices and reserved ranges'
	@echo '  BENCH=bench-trace   with and without tracepoints, which are off'
	@echo '  BENCH=bench-latency how long calls wait for a long one, and SIGKILL'
	@echo '  BENCH=bench-unpatched  on a kernel without the patch series'
	@echo "  BENCH=bench-smmu    a guest's invalidation commands on an emulated SMMUv3, with and without the native backend"
	@echo "  BENCH=bench-amd     the same on an emulated AMD-Vi, which only the native backend has commands for"
	@echo "  ROWS='beside*'       only rows whose names begin like that; several: 'a*|b*'"
	@echo 'make bench-page       write the numbers of build/bench*.json into Documentation/performance.rst'
	@echo "make bench-vm         count QEMU's ioctls there, and their time, with the C and the Rust module"
	@echo 'make suites           list the suites'
	@echo 'make shell            a prompt in the guest, module loaded, device bound to vfio-pci'
	@echo '  SUITE=name          in the guest of that suite'
	@echo 'make modules          build the module alone; ARCH=arm64 for another architecture'
	@echo '  KDIR=folder         for the kernel that was built there, with the tools installed here'
	@echo 'make modules_check    say whether the module can be built for the kernel in KDIR'
	@echo 'make modules_install  install it below updates/ and run depmod; KDIR, INSTALL_MOD_PATH'
	@echo 'make programs         build demo, bench, hw-info, ioctl_count.so and ioctl_report for a real machine; KDIR'
	@echo 'make fmt, fmt-check   format the Rust source, or see that it is'
	@echo 'make clippy           lint the module, warnings are errors'
	@echo 'make kernel           build the test kernel; FLAVOUR=name takes another config'
	@echo 'TOOLCHAIN=newest       with any of these: the newest compilers instead of those of Debian 13'
	@echo 'make clean            remove build/; the toolchain root and kernels stay in the cache'
	@echo 'make clean-cache      say what is in the cache, ask, and remove it'
	@echo
	@echo 'Module options are set on the command line: make CONFIG_IOMMUFD_RS_TEST=y'
	@echo 'ARCH=$(or $(ARCH),x86_64)  IOMMUFD_RS_CACHE=$(or $(IOMMUFD_RS_CACHE),~/.cache/iommufd-rs)'
