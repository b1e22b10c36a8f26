//! Child processes that are captured, signalled by pid, and never outlive the tests.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A running child process. Killed, by its pid, when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `command`, called `name` in messages. What it writes to stdout and stderr is kept, together.
    ///
    /// `setpriv` asks the kernel to kill the child when its parent dies, which covers a test process that was
    /// killed, and parts shared by all tests of a process, which are never dropped.
    pub fn start(name: &str, command: &Command) -> Result<Self> {
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL", "--"]);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            wrapped.current_dir(folder);
        }
        wrapped
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = spawn(wrapped).with_context(|| format!("cannot start {name}"))?;
        let output = Arc::default();
        let readers = vec![
            keep(child.stdout.take(), &output),
            keep(child.stderr.take(), &output),
        ];
        Ok(Self {
            name: name.to_owned(),
            child,
            output,
            readers,
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the process wrote so far, stdout and stderr interleaved as they came.
    pub fn output(&self) -> Vec<u8> {
        lock(&self.output).clone()
    }

    /// [`Self::output`] as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.output)).into_owned()
    }

    /// Waits until it has written this. It comes by a pipe, later than whatever else the process does.
    pub fn says(&self, words: &str) -> Result<()> {
        let has_said = || self.text().contains(words);
        wait::until_true(wait::START, &format!("`{words}` from {}", self.name), has_said)
            .with_context(|| self.text())
    }

    /// Waits until `check` gives a value; fails early, with what the process wrote, when it ends before that.
    pub fn ready<T>(&mut self, limit: Duration, mut check: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let start = Instant::now();
        loop {
            let text = self.text();
            if let Some(value) = check(&text) {
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait()? {
                self.hear_out();
                // It may have said so just before its end.
                if let Some(value) = check(&self.text()) {
                    return Ok(value);
                }
                bail!(
                    "{} ended with {status} before it was ready:\n{}",
                    self.name,
                    self.text()
                );
            }
            if start.elapsed() > limit {
                bail!("{} was not ready after {limit:?}:\n{text}", self.name);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end of both pipes, which may come just after that of the process; not for long, because a child
    /// of its own may hold them open.
    fn hear_out(&self) {
        let has_ended = || self.readers.iter().all(JoinHandle::is_finished).then_some(());
        // What has come by then has to do.
        let _ = wait::until(Duration::from_secs(10), "the end of the output", has_ended);
    }

    /// SIGSTOP: the process hangs, its sockets stay open.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: the end of [`Self::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGINT, as Ctrl-C sends it, without waiting.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::INT)
    }

    /// SIGKILL, then waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for the end of the process. All that it wrote is there then.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let (name, child) = (&self.name, &mut self.child);
        let status = wait::until(limit, &format!("the end of {name}"), || {
            child.try_wait().ok().flatten()
        })?;
        self.hear_out();
        Ok(status)
    }

    /// Waits for the end of a program that has one, and gives all that it wrote. Another exit code than 0 is an error
    /// that shows it.
    pub fn finish(mut self, limit: Duration) -> Result<String> {
        let status = self.wait(limit)?;
        // The end of both pipes, which may come just after the end of the process.
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        if !status.success() {
            bail!("{} ended with {status}:\n{}", self.name, self.text());
        }
        Ok(self.text())
    }

    /// Whether the process has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .context("no pid")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.kill();
    }
}

/// The kernel's "parent" of that request is the thread that started the child, and each test has a thread of its
/// own that ends before parts that tests share. So one thread that never ends starts all children.
fn spawn(command: Command) -> Result<Child> {
    type Job = (Command, mpsc::Sender<std::io::Result<Child>>);
    static STARTER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in jobs {
                // The receiver waits for this one answer.
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = mpsc::channel();
    starter
        .send((command, reply))
        .ok()
        .context("the starting thread is gone")?;
    Ok(answer.recv()??)
}

fn keep(pipe: Option<impl Read + Send + 'static>, output: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let output = Arc::clone(output);
    thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            lock(&output).extend_from_slice(&chunk[..count]);
        }
    })
}

fn lock(output: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}
