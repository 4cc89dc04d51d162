// SPDX-License-Identifier: GPL-2.0-only

//! Mock emulated devices. Each is a file, whose descriptor is the id of the device.

use kernel::{
    fs::file::{
        flags::O_CLOEXEC,
        FileDescriptorReservation, //
    },
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        Mutex, //
    },
    uaccess::UserSlice, //
};

use crate::{
    device::Access,
    ioas::{
        accessor::AccessUser,
        transfer::Transfer, //
    },
    kapi::{
        file::{
            anon_file,
            file_ref::FileRef, //
        },
        mm::{
            pin::PagePtr,
            user::{
                self,
                UserStruct, //
            },
            user_page::UserPage, //
        },
        reason::Result,
        sync::{
            killable::lock_killable,
            shared::Shared, //
        },
        uapi::test::{
            access,
            AccessReplaceIoas,
            AccessRw,
            Cmd,
            DestroyAccessPages, //
        },
        units::{
            page_offset,
            to_usize,
            IovaRange,
            PAGE_SIZE, //
        }, //
    },
    object::{
        Ctx,
        Ref, //
    }, //
};

/// The largest number of bytes that a call pins or copies.
const MAX_LENGTH: u64 = 16 << 20;

struct Inner {
    /// `None` until the device is made, and while it is destroyed.
    access: Option<Ref<Access>>,
    /// The ranges that the device has pinned, by their ids. There may be any number.
    pinned: RBTree<u32, IovaRange>,
    next_id: u32,
}

/// The ranges that a device has pinned.
#[pin_data]
struct Held {
    #[pin]
    inner: Mutex<Inner>,
}

impl Held {
    /// Unpins all ranges that intersect `range`. Holds the lock until they are unpinned, so that a
    /// task that waits for it finds none of them pinned.
    fn unpin(&self, range: IovaRange) {
        let mut inner = self.inner.lock();
        let Inner { access, pinned, .. } = &mut *inner;
        let Some(access) = access else { return };
        let mut cursor = pinned.cursor_front_mut();
        while let Some(mut at) = cursor {
            let found = *at.current_mut().1;
            if found.intersection(&range).is_none() {
                cursor = at.move_next();
                continue;
            }
            access.unpin_pages(found);
            let last = at.peek_next().is_none();
            let (next, node) = at.remove_current();
            drop(node);
            // After removal of the last one the cursor is at the one before.
            cursor = next.filter(|_| !last);
        }
    }
}

/// The receiver of unmap notifications.
struct User(Arc<Held>);

impl AccessUser for User {
    fn unmap(&self, range: IovaRange) {
        self.0.unpin(range);
    }
}

/// An emulated device. It is owned by its file, and dropping it destroys the access.
struct Emulated {
    held: Arc<Held>,
    pins_pages: bool,
}

impl Emulated {
    fn access(&self) -> Result<Ref<Access>> {
        let inner = lock_killable(&self.held.inner)?;
        Ok(inner.access.clone().ok_or(ENODEV)?)
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        self.held.unpin(IovaRange::ALL);
        let access = self.held.inner.lock().access.take();
        if let Some(access) = access {
            Access::destroy(access);
        }
    }
}

/// Makes a device that accesses the IOAS of the command.
///
/// Returns `EOPNOTSUPP` for unknown flags, `ENOENT` if there is no such IOAS, `EADDRINUSE` if it
/// has mappings that the device cannot pin, and `ENOMEM`.
pub(super) fn create(ctx: &FileRef<Ctx>, mut cmd: Cmd, user: &UserStruct) -> Result {
    let flags = cmd.create_access().flags;
    if flags & !access::PINS_PAGES != 0 {
        return Err(EOPNOTSUPP.into());
    }
    let pins_pages = flags & access::PINS_PAGES != 0;
    let held = Arc::pin_init(
        pin_init!(Held {
            inner <- new_mutex!(
                Inner {
                    access: None,
                    pinned: RBTree::new(),
                    next_id: 0,
                },
                "Held::inner"
            ),
        }),
        GFP_KERNEL_ACCOUNT,
    )?;
    let emulated = Emulated {
        held: held.clone(),
        pins_pages,
    };
    let emulated = Shared::pin_init(Ok(emulated), GFP_KERNEL_ACCOUNT)?;
    let file = anon_file::new(c"[iommufd_test_staccess]", emulated)?;
    let fd = FileDescriptorReservation::get_unused_fd_flags(O_CLOEXEC).map_err(|_| ENOMEM)?;
    let told = KBox::new(User(held.clone()), GFP_KERNEL_ACCOUNT)?;
    let access = Access::create(ctx, Some(told), pins_pages)?;
    // From here on the release of the file destroys the access.
    held.inner.lock().access = Some(access.clone());
    access.attach(cmd.id)?;
    cmd.create_access_mut().out_access_fd = fd.reserved_fd();
    user.write(&cmd)?;
    fd.fd_install(file);
    Ok(())
}

/// Moves a device to another IOAS. Returns the errors of [`Access::replace`].
pub(super) fn replace(fd: u32, cmd: &AccessReplaceIoas) -> Result {
    let emulated: Shared<Emulated> = anon_file::get(fd)?;
    // Dropped before `emulated`, which may be the last reference: it then waits for all references to the
    // access.
    let access = emulated.access()?;
    access.replace(cmd.ioas_id)
}

/// Returns `EBADE` if the pages of the calling process from `addr` on are not these.
fn check_pages(mut addr: u64, pages: &[PagePtr]) -> Result {
    for page in pages {
        if !UserPage::get(addr)?.is(*page) {
            return Err(EBADE.into());
        }
        addr = addr.wrapping_add(PAGE_SIZE);
    }
    Ok(())
}

/// Pins pages for a device. If the command has an address, checks that they are the pages of the
/// calling process there.
///
/// Returns `EOPNOTSUPP` for unknown flags and for a device that does not pin pages, `ENOMEM` for
/// more than [`MAX_LENGTH`] bytes, or the errors of [`Access::pin_pages`].
pub(super) fn pin(mut cmd: Cmd, user: &UserStruct) -> Result {
    let fd = cmd.id;
    let args = cmd.access_pages();
    if args.length > MAX_LENGTH {
        return Err(ENOMEM.into());
    }
    if args.flags & !access::PIN_WRITE != 0 {
        return Err(EOPNOTSUPP.into());
    }
    let emulated: Shared<Emulated> = anon_file::get(fd)?;
    if !emulated.pins_pages {
        return Err(EOPNOTSUPP.into());
    }
    let range = IovaRange::from_len(args.iova, args.length)?;
    let skip = page_offset(args.iova);
    let npages = to_usize((skip + args.length).div_ceil(PAGE_SIZE));
    let mut pages = KVVec::from_elem(PagePtr::null(), npages, GFP_KERNEL_ACCOUNT)?;
    let write = args.flags & access::PIN_WRITE != 0;
    let uptr = args.uptr;

    // A task that unmaps the pages meanwhile waits for the lock, and then finds them in the list.
    let mut inner = lock_killable(&emulated.held.inner)?;
    let Inner {
        access,
        pinned,
        next_id,
    } = &mut *inner;
    let access = access.as_ref().ok_or(ENODEV)?;
    let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
    access.pin_pages(range, write, &mut pages)?;
    let mut check = || -> Result<u32> {
        if uptr != 0 {
            check_pages(uptr.wrapping_sub(skip), &pages)?;
        }
        let mut id = *next_id;
        while pinned.get(&id).is_some() {
            id = id.wrapping_add(1);
        }
        cmd.access_pages_mut().out_access_pages_id = id;
        user.write(&cmd)?;
        Ok(id)
    };
    match check() {
        Ok(id) => {
            *next_id = id.wrapping_add(1);
            // There is none with this id.
            drop(pinned.insert(node.into_node(id, range)));
            Ok(())
        }
        Err(error) => {
            access.unpin_pages(range);
            Err(error)
        }
    }
}

/// Unpins pages that were pinned by [`pin`]. Returns `ENOENT` if there are none with this id.
pub(super) fn unpin(fd: u32, cmd: &DestroyAccessPages) -> Result {
    let emulated: Shared<Emulated> = anon_file::get(fd)?;
    let mut inner = lock_killable(&emulated.held.inner)?;
    let Inner { access, pinned, .. } = &mut *inner;
    let access = access.as_ref().ok_or(ENODEV)?;
    let range = pinned.remove(&cmd.access_pages_id).ok_or(ENOENT)?;
    access.unpin_pages(range);
    Ok(())
}

/// Copies bytes between an IOAS and the memory of the calling process, as a device would.
///
/// Returns `EOPNOTSUPP` for unknown flags, `ENOMEM` for more than [`MAX_LENGTH`] bytes, `EFAULT` if
/// the memory of the process cannot be accessed, or the errors of [`Access::copy_bytes`].
pub(super) fn copy(fd: u32, cmd: &AccessRw) -> Result {
    if cmd.length > MAX_LENGTH {
        return Err(ENOMEM.into());
    }
    if cmd.flags & !(access::RW_WRITE | access::RW_SLOW) != 0 {
        return Err(EOPNOTSUPP.into());
    }
    let emulated: Shared<Emulated> = anon_file::get(fd)?;
    let len = to_usize(cmd.length);
    let slow = cmd.flags & access::RW_SLOW != 0;
    let mut data = KVVec::from_elem(0_u8, len, GFP_KERNEL_ACCOUNT)?;
    let memory = UserSlice::new(user::ptr(cmd.uptr), len);
    let access = emulated.access()?;
    if cmd.flags & access::RW_WRITE != 0 {
        memory.reader().read_slice(&mut data)?;
        access.copy_bytes(cmd.iova, Transfer::Write(&data), false, slow)
    } else {
        access.copy_bytes(cmd.iova, Transfer::Read(&mut data), false, slow)?;
        Ok(memory.writer().write_slice(&data)?)
    }
}
