// SPDX-License-Identifier: GPL-2.0-only

//! Runs programs, and says as text what the kernel answered.
//!
//! The text has a line a call: its result, then each field that the kernel changed. Ids and
//! descriptors are not in it, since two modules may number differently: an id that a call made is
//! "+", and one that names what call N made, or that call N was given as well, is "@N".

mod child;
mod other;

use std::{
    fmt::Write,
    sync::{
        atomic::{
            AtomicBool,
            AtomicU64,
            Ordering::SeqCst, //
        },
        Mutex,
        MutexGuard,
        PoisonError, //
    },
    time::Duration,
};

use crate::{
    answer::{
        array,
        mask,
        result_name,
        store,
        tell,
        FILL,
        NO_FD, //
    },
    children::Children,
    coverage::Coverage,
    inject::{
        Failing,
        Then, //
    },
    memory::{
        copy,
        get,
        hash,
        Memory,
        Place,
        Scratch,
        ARENA,
        LARGEST,
        PAGE, //
    },
    observe::{
        self,
        Pins, //
    },
    program::{
        Call,
        Program,
        Value,
        Who, //
    },
    slots::Slots,
    sys::{
        self,
        c, //
    },
    table::{
        find,
        Action,
        Field,
        Kind,
        Res, //
    },
    vfio::Vfio, //
};

/// What a program left behind as text: a line a call, one before and one after all is closed, one about the
/// memory, and one about pins.
pub(crate) type Trace = Vec<String>;

/// What the line says that is made after all is closed.
pub(crate) const NOTHING_PINNED: &str = "after close: 0 KiB pinned";
pub(crate) const NO_PIN_LEFT: &str = "pins: 0 left";

/// Returns the line of a trace that says that memory stays charged or pinned, if one does.
pub(crate) fn left_pinned(trace: &Trace) -> Option<&String> {
    let says = |line: &&String| {
        (line.starts_with("after close: ") && *line != NOTHING_PINNED)
            || (line.starts_with("pins: ") && *line != NO_PIN_LEFT)
    };
    trace.iter().find(says)
}

/// The lowest descriptor that a program may use. Programs may take a descriptor for an id: it must not depend
/// on which files the fuzzer has open.
const FLOOR: i64 = 40;

pub(crate) struct Executor {
    memory: Memory,
    pub(crate) slots: Slots,
    status: i64,
    vfio: Vfio,
    children: Children,
    /// What code programs reach, if that is noted.
    pub(crate) coverage: Option<Coverage>,
    /// What counts pages that stay pinned.
    pins: Pins,
    /// Whether what the kernel says about contexts is read after each call.
    pub(crate) looks: bool,
    mappings: Mutex<Vec<(u64, u64)>>,
    /// The pages of the arena, a bit each, that the program mapped otherwise.
    moved: AtomicU64,
    limited: AtomicBool,
    squeezed: AtomicBool,
    fails: AtomicBool,
    failing: Mutex<Option<Failing>>,
    /// Whether this is a child.
    is_child: AtomicBool,
    /// When children are killed that are to be killed at work.
    pub(crate) killing: Killing,
    /// How long the last of their calls took to its end.
    pub(crate) worked: Mutex<Duration>,
}

/// When a child is killed that is to be killed at work.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Killing {
    /// Before it makes the call.
    Before,
    /// So long after it was told to.
    AtWork(Duration),
    /// When it has made it.
    After,
}

impl Executor {
    /// Files that are to stay open must be open before.
    pub(crate) fn new() -> Result<Self, String> {
        Self::with(None)
    }

    /// As `new`. Notes what code programs reach, if the kernel can.
    pub(crate) fn with_coverage() -> Result<Self, String> {
        Self::with(Coverage::open())
    }

    /// These files are opened before those that programs may close.
    fn with(coverage: Option<Coverage>) -> Result<Self, String> {
        let pins = Pins::open()?;
        // It allows to lock memory beyond the limit.
        sys::give_up(c::CAP_IPC_LOCK);
        sys::limit_locked(u64::MAX);
        let memory = Memory::new();
        let status = sys::open("/proc/self/status", c::O_RDONLY);
        let children = Children::new();
        sys::occupy_below(FLOOR).ok_or("no descriptors")?;
        Ok(Self {
            memory,
            slots: Slots::new().ok_or("no memory")?,
            status,
            vfio: Vfio::find(),
            children,
            coverage,
            pins,
            looks: false,
            mappings: Mutex::default(),
            moved: AtomicU64::new(0),
            limited: AtomicBool::new(false),
            squeezed: AtomicBool::new(false),
            fails: AtomicBool::new(false),
            failing: Mutex::default(),
            is_child: AtomicBool::new(false),
            killing: Killing::After,
            worked: Mutex::default(),
        })
    }

    /// Runs a program.
    pub(crate) fn run(&mut self, program: &Program) -> Trace {
        self.run_by(program, None)
    }

    /// Runs a program, of whose threads' calls only these are made, one after the other in this order.
    pub(crate) fn run_in_order(&mut self, program: &Program, order: &[usize]) -> Trace {
        self.run_by(program, Some(order))
    }

    fn run_by(&mut self, program: &Program, order: Option<&[usize]>) -> Trace {
        if let Some(coverage) = &self.coverage {
            coverage.begin();
        }
        for call in 0..program.calls.len() {
            self.slots.clear(call);
        }
        let mut index = 0;
        while index < program.calls.len() {
            match program.calls[index].who {
                Who::Thread(_) => {
                    let end = index
                        + program.calls[index..]
                            .iter()
                            .take_while(|call| is_thread(call))
                            .count();
                    let range = index..end;
                    match order {
                        None => self.run_threads(program, range),
                        Some(order) => order
                            .iter()
                            .filter(|&call| range.contains(call))
                            .for_each(|&call| self.make(program, call, 0)),
                    }
                    index = end;
                    continue;
                }
                Who::Child(child) => self.ask(program, child, index),
                Who::Killed(child) => self.ask_and_kill(child, index),
                Who::Main if program.calls[index].of.action == Action::Fork => {
                    self.fork(program, index)
                }
                Who::Main => self.make(program, index, 0),
            }
            if self.looks {
                observe::look(&mut Scratch::new(0), self.slots.value(0, 0) as i64);
            }
            index += 1;
        }
        // What is done now is not the program's.
        self.fails.store(false, SeqCst);
        let mut trace: Trace = (0..program.calls.len())
            .map(|call| self.line(call))
            .collect();
        trace.push(format!("before close: {} KiB pinned", self.pinned()));
        self.clean_up(program);
        if let Some(coverage) = &mut self.coverage {
            coverage.end();
        }
        let hash = self.memory_hash();
        trace.push(format!("after close: {} KiB pinned", self.pinned()));
        trace.push(format!("memory: {hash:016x}"));
        trace.push(format!("pins: {} left", self.pins.more()));
        self.memory.reset();
        trace
    }

    /// Runs a program while things fail in its calls.
    pub(crate) fn run_failing(&mut self, program: &Program, failing: Failing) -> (Trace, Failing) {
        *lock(&self.failing) = Some(failing);
        self.fails.store(true, SeqCst);
        let trace = self.run(program);
        let failing = lock(&self.failing).take();
        (trace, failing.expect("it was put there"))
    }

    fn line(&self, call: usize) -> String {
        let result = self.slots.result(call);
        format!("{}{}", result_name(result), self.slots.text(call))
    }

    fn memory_hash(&mut self) -> u64 {
        match self.moved.swap(0, SeqCst) {
            0 => {}
            pages => self.memory.set_moved(pages),
        }
        self.memory.hash()
    }

    /// Ends the children, closes and unmaps what the program left.
    fn clean_up(&mut self, program: &Program) {
        self.detach_pasids(program);
        self.children.end();
        for (address, length) in self
            .mappings
            .lock()
            .into_iter()
            .flat_map(|mut list| std::mem::take(&mut *list))
        {
            sys::munmap(address, length);
        }
        if self.squeezed.swap(false, SeqCst) {
            self.restore_limit();
        }
        sys::close_from(FLOOR);
        if self.limited.swap(false, SeqCst) {
            sys::limit_locked(u64::MAX);
        }
    }

    /// Detaches PASIDs from mock devices, since the C mock does not do that when they are destroyed.
    fn detach_pasids(&self, program: &Program) {
        let Some(detach) = find("pasid_detach") else {
            return;
        };
        for (index, call) in program.calls.iter().enumerate() {
            if call.of.name != "pasid_attach" || self.slots.result(index) != 0 {
                continue;
            }
            let mut undo = Call::new(detach);
            for name in ["context", "id", "pasid"] {
                if let (Some(from), Some(to)) = (call.of.field(name), detach.field(name)) {
                    undo.values[to] = Value::Number(self.slots.value(index, from));
                }
            }
            let mut calls = program.calls.clone();
            calls[index] = undo;
            self.make(&Program { calls }, index, 0);
        }
    }

    /// Undoes what the mock's operation to limit temporary memory did, which is for all contexts.
    fn restore_limit(&self) {
        let Some(program) = find("memory_limit").map(|of| {
            let mut program = Program::new();
            let mut call = Call::new(of);
            if let Some(limit) = of.field("limit") {
                call.values[limit] = Value::Number(65536);
            }
            program.calls.push(call);
            program
        }) else {
            return;
        };
        self.make(&program, 0, 0);
        self.make(&program, 1, 0);
    }

    fn pinned(&self) -> u64 {
        let status = sys::read_text(self.status);
        let line = status.lines().find_map(|line| line.strip_prefix("VmPin:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or(0)
    }

    fn run_threads(&self, program: &Program, range: std::ops::Range<usize>) {
        let mut threads: Vec<usize> = program.calls[range.clone()]
            .iter()
            .filter_map(thread_of)
            .collect();
        threads.sort_unstable();
        threads.dedup();
        let waiting = AtomicU64::new(threads.len() as u64);
        std::thread::scope(|scope| {
            for (lane, &thread) in threads.iter().enumerate() {
                let (range, waiting) = (range.clone(), &waiting);
                scope.spawn(move || {
                    let noted = self
                        .coverage
                        .as_ref()
                        .map(|coverage| coverage.lanes().of_thread(lane));
                    if let Some(noted) = noted {
                        noted.enable();
                    }
                    // All begin at once.
                    waiting.fetch_sub(1, SeqCst);
                    while waiting.load(SeqCst) > 0 {
                        std::hint::spin_loop();
                    }
                    for index in
                        range.filter(|&index| thread_of(&program.calls[index]) == Some(thread))
                    {
                        self.make(program, index, lane as u64 + 1);
                    }
                    if let Some(noted) = noted {
                        noted.disable();
                    }
                });
            }
        });
    }

    /// Makes a call that is not a fork, with the scratch memory of a lane. If it fails because something in it
    /// was to fail, it is made again.
    fn make(&self, program: &Program, index: usize, lane: u64) {
        while let Then::Again = self.make_once(program, index, lane) {}
    }

    fn make_once(&self, program: &Program, index: usize, lane: u64) -> Then {
        let call = &program.calls[index];
        let mut scratch = match (call.place, call.of.action) {
            (Place::Fresh, Action::Ioctl(_)) => Scratch::fresh(lane),
            _ => Scratch::new(lane),
        };
        let layout = call.of.layout;
        let mut values: Vec<u64> = layout
            .fields
            .iter()
            .zip(&call.values)
            .map(|(field, value)| self.resolve(&mut scratch, call, field, value))
            .collect();
        let mut text = String::new();
        let result = match call.of.action {
            Action::Ioctl(request) => {
                let mut bytes = vec![0; layout.size];
                store(layout, &values, &mut bytes);
                let address = scratch.argument(call.place, &bytes);
                let fd = values.first().copied().unwrap_or(0) as i64;
                let result = self.ioctl(index, fd, request, address);
                self.answer(program, index, result, address, &mut values, &mut text);
                result
            }
            _ => self.other(program, index, &mut scratch, &mut values, &mut text),
        };
        if call.of.name == "memory_limit" {
            self.squeezed.store(true, SeqCst);
        }
        // What was not made is not there, rather than a value that it has from somewhere.
        for (index, field) in layout.fields.iter().enumerate() {
            match field.kind {
                Kind::OutFd(_) if field.size == 0 && result > 0 => values[index] = result as u64,
                Kind::OutId(_) if result < 0 => values[index] = 0,
                Kind::OutFd(_) if result < 0 => values[index] = NO_FD,
                _ => {}
            }
        }
        // A descriptor that is the result is no more compared than others are.
        let is_fd = |field: &Field| field.size == 0 && matches!(field.kind, Kind::OutFd(_));
        let result = if layout.fields.iter().any(is_fd) {
            result.min(0)
        } else {
            result
        };
        self.slots.set(index, result, &values, &text);
        self.then(index, call, result)
    }

    fn resolve(&self, scratch: &mut Scratch, call: &Call, field: &Field, value: &Value) -> u64 {
        let number = match value {
            Value::Number(number) => *number,
            Value::Of { call, field, plus } => self.slots.value(*call, *field).wrapping_add(*plus),
            Value::Memory(offset) => ARENA.wrapping_add(*offset),
            Value::File(number) => {
                return self
                    .memory
                    .files
                    .get(*number)
                    .map_or(NO_FD, |&fd| fd as u64)
            }
            Value::Buffer(bytes) => {
                let fill = match (field.kind, call.of.name) {
                    (Kind::Bitmap, "dirty") => 0x35,
                    (Kind::Bitmap, _) => 0,
                    _ => FILL,
                };
                return scratch
                    .push(&vec![fill; (*bytes).min(4 * PAGE) as usize])
                    .unwrap_or(0);
            }
            Value::Array(elements) => {
                let mut bytes = Vec::new();
                for element in elements {
                    let values: Vec<u64> = element
                        .layout
                        .fields
                        .iter()
                        .zip(&element.values)
                        .map(|(field, value)| self.resolve(scratch, call, field, value))
                        .collect();
                    let start = bytes.len();
                    bytes.resize(start + element.layout.size, 0);
                    store(element.layout, &values, &mut bytes[start..]);
                }
                return scratch.push(&bytes).unwrap_or(0);
            }
        };
        // The fuzzer's own files are not for programs.
        let is_fd = matches!(field.kind, Kind::Fd(_) | Kind::File);
        if is_fd && (number as i64) < FLOOR {
            return NO_FD;
        }
        number
    }

    /// Reads back the struct of a call, and writes what changed to `text`.
    fn answer(
        &self,
        program: &Program,
        call: usize,
        result: i64,
        address: u64,
        values: &mut Vec<u64>,
        text: &mut String,
    ) {
        let echo = |kind, id| self.name_of(program, call, kind, id);
        let call = &program.calls[call];
        let layout = call.of.layout;
        let mut of_arrays = Vec::new();
        for (index, field) in layout.fields.iter().enumerate() {
            let before = values[index];
            if field.size > 0 && call.place != Place::Cut {
                values[index] = get(address + field.offset as u64, field.size);
            }
            let before = before & mask(field);
            tell(field, result, before, values[index], &echo, text);
            if let Kind::Array(layouts, _) = field.kind {
                array(
                    layouts,
                    before,
                    &call.values[index],
                    &echo,
                    text,
                    &mut of_arrays,
                );
            }
            if let (Value::Buffer(bytes), true) = (&call.values[index], before != 0) {
                let bytes = (*bytes).min(4 * PAGE);
                let _ = write!(
                    text,
                    " {}:{:x}",
                    field.name,
                    hash(before, bytes) & 0xffff_ffff
                );
            }
        }
        values.extend(of_arrays);
        // VFIO's info is longer than its struct. Whatever else is written there is wrong.
        if !call.place.is_read_only() {
            let behind = address + layout.size as u64;
            let length = LARGEST - layout.size;
            if copy(behind, length).iter().any(|byte| *byte != 0) {
                let hash = hash(behind, length as u64) & 0xffff_ffff;
                let _ = write!(text, " behind:{hash:x}");
            }
        }
    }

    /// Returns the name of an id that the kernel wrote: that of the last call that made the same number for such an
    /// object. Cookies are small numbers, too, so that other calls may have made the same number.
    fn name_of(&self, program: &Program, call: usize, kind: Kind, id: u64) -> String {
        let calls = &program.calls[..call];
        let is_kind = |res: Res| match kind {
            Kind::OutId(made) => res == made,
            Kind::Id(of) => of.contains(&res),
            _ => res == Res::Device,
        };
        // Where threads make objects, or HW queues were made, objects that are gone may have had the number, or not.
        let is_sure =
            !program.has_threads() && calls.iter().all(|call| call.of.name != "hw_queue_alloc");
        let made = calls.iter().enumerate().rev().find(|(number, call)| {
            call.of
                .makes()
                .any(|(field, res)| is_kind(res) && self.slots.value(*number, field) == id)
        });
        match (kind, made) {
            (Kind::Echo, None) => format!("{id:#x}"),
            (Kind::Echo, Some((number, _))) => format!("@{number}"),
            (_, Some((number, _))) if is_sure => format!("@{number}"),
            _ => "+".to_string(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_thread(call: &Call) -> bool {
    thread_of(call).is_some()
}

fn thread_of(call: &Call) -> Option<usize> {
    match call.who {
        Who::Thread(thread) => Some(thread),
        _ => None,
    }
}
