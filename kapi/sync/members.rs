// SPDX-License-Identifier: GPL-2.0-only

//! Values that are found by a number, and belong to somebody else.
//!
//! A [`Member`] is in a set as long as it exists. It has the links of the set in itself, so joining
//! the set needs no memory, and leaving it frees none.
//!
//! Fit for `rust/kernel`. [`RBTree`](kernel::rbtree::RBTree) owns its values, and allocates a node
//! for each.
//!
//! C header: [`include/linux/rbtree.h`](srctree/include/linux/rbtree.h)

use core::{
    cell::UnsafeCell,
    cmp::Ordering,
    marker::{
        PhantomData,
        PhantomPinned, //
    },
    ops::Deref,
    ptr::NonNull, //
};

use kernel::{
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::ffi::bindings;

/// What the tree knows of a member.
#[repr(C)]
struct Link<T: ?Sized> {
    rb: bindings::rb_node,
    key: u32,
    /// The value. It is there while the link is in a tree.
    value: Option<NonNull<T>>,
}

/// The members of a set by their numbers.
///
/// # Invariants
///
/// `root` is a red-black tree of the fields `rb` of [`Link`]s, in the order of their keys, which
/// differ. Each is that of a [`Member`] of this set, which leaves the tree before it is freed.
pub(crate) struct Tree<T: ?Sized> {
    root: bindings::rb_root,
    _links: PhantomData<*const Link<T>>,
}

// SAFETY: Of the values it gives out `&T` only, and `T` is `Sync`.
unsafe impl<T: ?Sized + Sync> Send for Tree<T> {}

impl<T: ?Sized> Tree<T> {
    /// Creates a tree without members.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no link.
        Self {
            root: bindings::rb_root {
                rb_node: core::ptr::null_mut(),
            },
            _links: PhantomData,
        }
    }

    /// Returns the link with this key.
    fn find(&self, key: u32) -> Option<NonNull<Link<T>>> {
        let mut next = self.root.rb_node;
        loop {
            let link: NonNull<Link<T>> = NonNull::new(next.cast())?;
            // SAFETY: By the invariants it is the link of a member that exists.
            let link_key = unsafe { (*link.as_ptr()).key };
            // SAFETY: As a link of the tree it has links to others.
            let (left, right) = unsafe { ((*next).rb_left, (*next).rb_right) };
            next = match key.cmp(&link_key) {
                Ordering::Less => left,
                Ordering::Greater => right,
                Ordering::Equal => return Some(link),
            };
        }
    }

    /// Adds a link. Returns `EEXIST` if there is one with the key.
    ///
    /// # Safety
    ///
    /// `link` must be in no tree. It must be that of a [`Member`] of this set, which leaves the tree
    /// before it is freed or moved.
    unsafe fn insert(&mut self, link: NonNull<Link<T>>) -> Result {
        // SAFETY: The caller guarantees that the link exists.
        let key = unsafe { (*link.as_ptr()).key };
        let mut parent: *mut bindings::rb_node = core::ptr::null_mut();
        let mut place = &raw mut self.root.rb_node;
        // SAFETY: `place` is a field of this tree or of a link in it.
        while let Some(other) = NonNull::new(unsafe { *place }) {
            parent = other.as_ptr();
            // SAFETY: By the invariants it is the first field of the link of a member that exists.
            let other_key = unsafe { (*parent.cast::<Link<T>>()).key };
            // SAFETY: The link is in the tree.
            let (left, right) =
                unsafe { (&raw mut (*parent).rb_left, &raw mut (*parent).rb_right) };
            place = match key.cmp(&other_key) {
                Ordering::Less => left,
                Ordering::Greater => right,
                Ordering::Equal => return Err(EEXIST),
            };
        }
        // INVARIANT: The place is that of the key. The member leaves the tree in time, as the caller
        // promises.
        // SAFETY: `parent` and `place` are the place of a link that is missing in the tree.
        unsafe {
            let rb = &raw mut (*link.as_ptr()).rb;
            bindings::iommufd_rs_rb_insert(rb, parent, place, &mut self.root);
        }
        Ok(())
    }

    /// Removes a link.
    ///
    /// # Safety
    ///
    /// `link` must be in this tree.
    unsafe fn remove(&mut self, link: NonNull<Link<T>>) {
        // SAFETY: It is in this tree, as the caller says.
        unsafe { bindings::rb_erase(&raw mut (*link.as_ptr()).rb, &mut self.root) };
    }
}

/// A set of values, by numbers. See the [module](self).
///
/// # Examples
///
/// ```
/// use crate::kapi::sync::members::{Member, Members, Tree};
/// use kernel::{new_mutex, sync::Arc};
///
/// let set = Arc::pin_init(Members::<u64>::new(new_mutex!(Tree::new())), GFP_KERNEL)?;
/// let join = |key, value: u64| {
///     KBox::pin_init(Member::new(set.clone(), key, Ok::<_, Error>(value), |value| value), GFP_KERNEL)
/// };
/// let (one, two) = (join(1, 10)?, join(2, 20)?);
/// assert_eq!(join(2, 30).err(), Some(EEXIST));
/// assert_eq!(set.with(2, |value| *value), Some(20));
/// drop(two);
/// assert_eq!(set.with(2, |value| *value), None);
/// assert_eq!(**one, 10);
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub(crate) struct Members<T: ?Sized> {
    #[pin]
    tree: Mutex<Tree<T>>,
}

impl<T: ?Sized + Sync> Members<T> {
    /// Initialises a set without members, with a lock that contains [`Tree::new`].
    pub(crate) fn new(tree: impl PinInit<Mutex<Tree<T>>>) -> impl PinInit<Self> {
        pin_init!(Self { tree <- tree })
    }

    /// Calls `f` with the member that has this number, if there is one. The lock is held, so that
    /// the member does not leave.
    pub(crate) fn with<R>(&self, key: u32, f: impl FnOnce(&T) -> R) -> Option<R> {
        let tree = self.tree.lock();
        let link = tree.find(key)?;
        // SAFETY: A member leaves the tree under the lock, before its value is dropped.
        let value = unsafe { (*link.as_ptr()).value?.as_ref() };
        Some(f(value))
    }
}

/// A reference to a set.
///
/// # Safety
///
/// The set must exist as long as a value of this type, and [`SetRef::set`] must always return the
/// same one for a value, wherever that is moved.
pub(crate) unsafe trait SetRef: Send + Sync {
    /// See [`Members`].
    type Value: ?Sized + Sync;

    /// Returns the set.
    fn set(&self) -> &Members<Self::Value>;
}

// SAFETY: The set is on the heap, and the reference is counted.
unsafe impl<T: ?Sized + Sync> SetRef for Arc<Members<T>> {
    type Value = T;

    fn set(&self) -> &Members<T> {
        self
    }
}

/// A value that is in the set of an `S` as long as it exists.
///
/// # Invariants
///
/// `link` is in the tree of `set` if `joined`, and then its value is a part of `value`. While it is in
/// the tree it is accessed with the lock of the tree only.
#[pin_data(PinnedDrop)]
pub(crate) struct Member<V, S: SetRef> {
    link: UnsafeCell<Link<S::Value>>,
    joined: bool,
    set: S,
    #[pin]
    value: V,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY:
// - The link is accessed with the lock of the set, which is not bound to a task.
// - Other tasks use the value by `&S::Value`, which is `Sync`.
unsafe impl<V: Send, S: SetRef> Send for Member<V, S> {}

// SAFETY: A shared reference gives `&V` and nothing else.
unsafe impl<V: Sync, S: SetRef> Sync for Member<V, S> {}

impl<V, S: SetRef> Member<V, S> {
    /// Initialises a value and adds it to a set. Others use it by what `cast` returns. Returns
    /// `EEXIST` if the set has a member with the number, or what `value` fails with.
    pub(crate) fn new<E: From<Error>>(
        set: S,
        key: u32,
        value: impl PinInit<V, E>,
        cast: fn(&V) -> &S::Value,
    ) -> impl PinInit<Self, E> {
        let link = Link {
            rb: Default::default(),
            key,
            value: None,
        };
        // INVARIANT: It has not joined yet.
        let init = try_pin_init!(Self {
            link: UnsafeCell::new(link),
            joined: false,
            set,
            value <- value,
            _pin: PhantomPinned,
        }? E);
        init.pin_chain(move |member| Ok(member.join(cast)?))
    }

    fn join(self: Pin<&mut Self>, cast: fn(&V) -> &S::Value) -> Result {
        // SAFETY: Nothing is moved out of the reference.
        let this = unsafe { self.get_unchecked_mut() };
        let link = NonNull::from(&mut this.link).cast::<Link<S::Value>>();
        // SAFETY: The link is in no tree, so nobody else accesses it.
        unsafe { (*link.as_ptr()).value = Some(NonNull::from(cast(&this.value))) };
        let mut tree = this.set.set().tree.lock();
        // SAFETY: The member is pinned, and `drop` has it leave.
        unsafe { tree.insert(link)? };
        drop(tree);
        // INVARIANT: It has joined.
        this.joined = true;
        Ok(())
    }
}

#[pinned_drop]
impl<V, S: SetRef> PinnedDrop for Member<V, S> {
    fn drop(self: Pin<&mut Self>) {
        if !self.joined {
            return;
        }
        let link = NonNull::from(&self.link).cast::<Link<S::Value>>();
        let mut tree = self.set.set().tree.lock();
        // SAFETY: By the invariants the link is in this tree.
        unsafe { tree.remove(link) };
    }
}

impl<V, S: SetRef> Deref for Member<V, S> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}
