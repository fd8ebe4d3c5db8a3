//! The driver of the `terraform` program: one directory, one state, every step with its status checked.
//!
//! Terraform writes to files, not to a pipe of ours: a democtl that is killed does not take a running apply with it (a
//! Go program dies of a broken standard output). It runs in a process group of its own and gets one SIGINT when the user
//! cancels, on which it stops gracefully, saves its state and frees its lock; a second one would do neither.

mod lock;
mod plan;
mod stream;

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use democtl_core::cost::Prices;
use futures::future::BoxFuture;
pub use plan::{Action, Change, Plan};
use rustix::process::{Pid, Signal, kill_process};
pub use stream::{Diagnostic, Message};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Kind, OrFail as _};

/// The oldest Terraform that the module works with.
pub const OLDEST: (u32, u32) = (1, 9);
/// The first major version that the module was not made for.
pub const TOO_NEW: u32 = 2;

/// How often a running Terraform is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// Files in the working directory.
const PLAN_FILE: &str = "plan.tfplan";
/// A state that could not be saved where it lies.
pub const ERRORED_STATE: &str = "errored.tfstate";
/// The state, where it lies here.
pub const STATE: &str = "terraform.tfstate";
const LOCK: &str = "lock.json";

/// In the words of every error of a state that another Terraform works on.
pub const LOCKED: &str = "acquiring the state lock";

/// Where lines of progress go.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// Terraform in one working directory.
#[derive(Clone)]
pub struct Terraform {
    program: PathBuf,
    dir: PathBuf,
    variables: Vec<(String, String)>,
    cancel: CancellationToken,
    progress: Progress,
    lock_timeout: Duration,
    /// The storage account that keeps the state, where one does.
    account: Option<String>,
    /// Tells which lock this machine's apply holds.
    lock_teller: Option<LockTeller>,
}

/// Asks where the state lies for the id of the lock on it; none: it is not locked, or that is not known.
pub type LockTeller = Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>;

impl std::fmt::Debug for Terraform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The variables may hold a login.
        f.debug_struct("Terraform").field("program", &self.program).field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// What a finished Terraform left.
#[derive(Debug)]
struct Finished {
    code: Option<i32>,
    errors: Vec<Diagnostic>,
    stderr: String,
    /// Whether work on a resource has begun: from then on the state is locked.
    working: bool,
}

/// A plan that lies in a file, ready to be applied.
#[derive(Debug)]
pub struct Planned {
    /// What it would do.
    pub plan: Plan,
    /// Whether Terraform sees any change (of outputs, perhaps).
    pub changes: bool,
    /// Resources that others have changed.
    pub drift: Vec<String>,
}

impl Terraform {
    /// Terraform `program` in `dir`, with further environment variables (the provider's login).
    pub fn new(
        program: PathBuf,
        dir: PathBuf,
        variables: Vec<(String, String)>,
        cancel: CancellationToken,
        progress: Progress,
    ) -> Self {
        let (account, lock_teller) = (None, None);
        Self { program, dir, variables, cancel, progress, lock_timeout: Duration::ZERO, account, lock_teller }
    }

    /// Keeps the state in this storage account, as the module's backend says; `lock_teller` looks at its lock.
    #[must_use]
    pub fn with_state_in(mut self, account: String, lock_teller: LockTeller) -> Self {
        self.account = Some(account);
        self.lock_teller = Some(lock_teller);
        self
    }

    /// Waits for another Terraform that works on the state, such as one whose democtl was killed.
    #[must_use]
    pub fn waiting_for_others(mut self, time: Duration) -> Self {
        self.lock_timeout = time;
        self
    }

    /// The working directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The text of the state that lies here, empty where none does. It holds secrets.
    pub fn local_state(&self) -> io::Result<Vec<u8>> {
        match fs::read(self.dir.join(STATE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    /// Whether there is a state here that says that something was made, or that cannot be read.
    pub fn has_state(&self) -> bool {
        let made = match self.local_state() {
            Ok(text) if text.is_empty() => false,
            Ok(text) => serde_json::from_slice::<serde_json::Value>(&text)
                .map_or(true, |state| state["resources"].as_array().is_some_and(|all| !all.is_empty())),
            Err(_) => true,
        };
        made || self.dir.join(ERRORED_STATE).exists()
    }

    /// Whether there is a module here: without one Terraform has never made anything.
    pub fn has_module(&self) -> bool {
        let files = fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        files.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|extension| extension == "tf"))
    }

    /// Makes a plan that lies here unusable, for an apply too that is only just starting.
    pub fn forget_plan(&self) {
        let _ = fs::remove_file(self.dir.join(PLAN_FILE));
    }

    /// What `init` chose: <https://developer.hashicorp.com/terraform/language/backend>.
    fn backend(&self) -> serde_json::Value {
        let text = fs::read_to_string(self.dir.join(".terraform").join(STATE)).unwrap_or_default();
        let mut chosen: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        chosen["backend"].take()
    }

    /// Whether the directory was prepared for another backend than it has now.
    fn backend_changed(&self) -> bool {
        let backend = self.backend();
        match (backend["type"].as_str(), &self.account) {
            (None, _) => false,
            (Some(kind), None) => kind == "azurerm",
            (Some(kind), Some(account)) => {
                kind != "azurerm" || backend["config"]["storage_account_name"] != account.as_str()
            }
        }
    }

    /// Refuses a module whose state lies elsewhere: cleanup could not vouch for it. To be asked after `init`.
    pub fn require_known_state(&self) -> Result<(), Failure> {
        let backend = self.backend();
        let what = match backend["type"].as_str() {
            None | Some("local") if self.account.is_none() && backend["config"]["path"].is_null() => return Ok(()),
            Some("azurerm") if self.account.is_some() && !self.backend_changed() => return Ok(()),
            None | Some("local") => "keeps its state at a path of its own".to_owned(),
            Some(other) => format!("keeps its state in a backend of type {other}"),
        };
        Err(Failure::msg(Kind::Preflight, format!("the module {what}, which cleanup would not look after"))
            .hint("give it backend \"local\" {} without a path, or none; --state azurerm keeps it in Azure"))
    }

    /// Checks that the program is there and of a version that the module works with; yields the version.
    pub fn version(&self) -> Result<String, Failure> {
        let hint = "install Terraform 1.9 or later: https://developer.hashicorp.com/terraform/install";
        fs::create_dir_all(&self.dir)
            .or_fail(Kind::Infrastructure, || format!("cannot make {}", self.dir.display()))?;
        let output = self.command(&["version", "-json"]).stdout_capture().stderr_capture().unchecked().run();
        let output = output
            .or_fail(Kind::Preflight, || format!("cannot run {}", self.program.display()))
            .map_err(|failure| failure.hint(hint))?;
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let version = told["terraform_version"].as_str().unwrap_or_default();
        match first_version(version) {
            Some((major, minor)) if (major, minor) >= OLDEST && major < TOO_NEW => Ok(version.to_owned()),
            Some(_) => {
                Err(Failure::msg(Kind::Preflight, format!("terraform is {version}, needed is 1.9 up to below 2"))
                    .hint(hint))
            }
            None => Err(Failure::msg(
                Kind::Preflight,
                format!("{} does not tell its version: {}", self.program.display(), tail(&output.stderr)),
            )),
        }
    }

    /// Prepares the directory; brings back a state that an earlier run could not save.
    pub async fn init(&self) -> Result<(), Failure> {
        let mut arguments = vec!["init", "-input=false", "-json"];
        if self.backend_changed() {
            arguments.push("-reconfigure");
        }
        self.checked("init", &arguments).await?;
        let errored = self.dir.join(ERRORED_STATE);
        if errored.exists() {
            self.checked("state push", &["state", "push", ERRORED_STATE]).await?;
            fs::remove_file(&errored)
                .or_fail(Kind::Infrastructure, || format!("cannot remove {}", errored.display()))?;
        }
        Ok(())
    }

    /// Plans the whole module, or its removal, into a file.
    pub async fn plan(&self, destroy: bool, prices: &Prices) -> Result<Planned, Failure> {
        let out = format!("-out={PLAN_FILE}");
        let lock = self.lock();
        let mut arguments = vec!["plan", "-input=false", "-json", "-detailed-exitcode", &lock, &out];
        if destroy {
            arguments.push("-destroy");
        }
        let finished = self.run("plan", &arguments).await?;
        let changes = match finished.code {
            Some(0) => false,
            Some(2) => true,
            _ => return Err(self.failed("plan", &finished)),
        };
        let shown = self
            .command(&["show", "-json", PLAN_FILE])
            .stdout_capture()
            .stderr_capture()
            .run()
            .or_fail(Kind::Infrastructure, || "terraform show failed".to_owned())?;
        let text = String::from_utf8_lossy(&shown.stdout);
        let unreadable = || "the plan cannot be read".to_owned();
        let plan = Plan::read(&text, prices).or_fail(Kind::Infrastructure, unreadable)?;
        let drift = plan::drift(&text).or_fail(Kind::Infrastructure, unreadable)?;
        Ok(Planned { plan, changes, drift })
    }

    /// Applies the plan that lies in the file, and nothing else.
    pub async fn apply(&self) -> Result<(), Failure> {
        let finished = self.run("apply", &["apply", "-input=false", "-json", &self.lock(), PLAN_FILE]).await?;
        // A plan is applied once.
        let _ = fs::remove_file(self.dir.join(PLAN_FILE));
        match finished.code {
            Some(0) => Ok(()),
            _ => Err(self.failed("apply", &finished)),
        }
    }

    /// Takes the mark off a resource that it is to be made again.
    pub async fn untaint(&self, address: &str) -> Result<(), Failure> {
        self.checked("untaint", &["untaint", &self.lock(), address]).await
    }

    /// The lock of an apply of ours that is certainly over: it was written down while that apply held it, and its process
    /// is no more.
    pub fn lock_of_dead_apply(&self) -> Option<String> {
        lock::Held::read(&self.dir.join(LOCK)).filter(lock::Held::is_over).map(|held| held.id)
    }

    /// Takes a lock off the state.
    pub async fn force_unlock(&self, id: &str) -> Result<(), Failure> {
        self.checked("force-unlock", &["force-unlock", "-force", id]).await?;
        let _ = fs::remove_file(self.dir.join(LOCK));
        Ok(())
    }

    /// Writes down which lock the running Terraform holds.
    async fn note_lock(&self, pid: Option<u32>) {
        let (Some(teller), Some(pid)) = (&self.lock_teller, pid) else { return };
        if let Some(id) = teller().await
            && let Err(error) = lock::Held::of(id, pid).write(&self.dir.join(LOCK))
        {
            (self.progress)(&format!("  the state's lock could not be written down: {error}"));
        }
    }

    fn lock(&self) -> String {
        format!("-lock-timeout={}s", self.lock_timeout.as_secs())
    }

    async fn checked(&self, what: &str, arguments: &[&str]) -> Result<(), Failure> {
        let finished = self.run(what, arguments).await?;
        if finished.code == Some(0) { Ok(()) } else { Err(self.failed(what, &finished)) }
    }

    fn command(&self, arguments: &[&str]) -> duct::Expression {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        // As text and not as a path: duct takes a bare name as a path to be one in the current directory.
        let mut command = duct::cmd(self.program.as_os_str(), arguments)
            .dir(&self.dir)
            .stdin_null()
            .env("TF_IN_AUTOMATION", "1")
            .env("CHECKPOINT_DISABLE", "1")
            // The state lies where cleanup looks, whatever the person's own Terraform is set to.
            .env_remove("TF_DATA_DIR")
            .env_remove("TF_WORKSPACE")
            .before_spawn(|command| {
                command.process_group(0);
                Ok(())
            });
        for (name, value) in &self.variables {
            command = command.env(name, value);
        }
        command
    }

    /// Runs to the end, however long; tells progress; on cancellation asks once and waits.
    async fn run(&self, what: &str, arguments: &[&str]) -> Result<Finished, Failure> {
        let name = what.replace(' ', "-");
        let (out, err) = (self.dir.join(format!("{name}.jsonl")), self.dir.join(format!("{name}.stderr")));
        let what_failed = || format!("cannot run terraform {what} in {}", self.dir.display());
        fs::write(&out, "").or_fail(Kind::Infrastructure, what_failed)?;
        let file = fs::File::open(&out).or_fail(Kind::Infrastructure, what_failed)?;
        let handle = self
            .command(arguments)
            .stdout_path(&out)
            .stderr_path(&err)
            .unchecked()
            .start()
            .or_fail(Kind::Infrastructure, what_failed)?;
        let mut lines = Lines { reader: BufReader::new(file), partial: Vec::new() };
        let mut finished = Finished { code: None, errors: Vec::new(), stderr: String::new(), working: false };
        let (mut asked, mut readable, mut noted) = (false, true, false);
        let note = self.note_lock(handle.pids().first().copied());
        tokio::pin!(note);
        loop {
            let ended = handle.try_wait().or_fail(Kind::Infrastructure, what_failed)?.map(|output| output.status);
            // Terraform is waited for even when its stream cannot be read: it may be making things that cost money.
            if readable && let Err(error) = self.take(&mut lines, &mut finished) {
                readable = false;
                (self.progress)(&format!("  what terraform says cannot be read any more ({error}); it is waited for"));
            }
            if let Some(status) = ended {
                finished.code = status.code();
                if finished.working && finished.code.is_some() {
                    // It has given its lock back.
                    let _ = fs::remove_file(self.dir.join(LOCK));
                }
                break;
            }
            if self.cancel.is_cancelled() && !asked {
                asked = true;
                (self.progress)("  terraform was asked to stop; it finishes what is under way and saves its state");
                for pid in handle.pids() {
                    interrupt(pid);
                }
            }
            // Beside the looks: where the state lies may be slow to answer, and a Ctrl-C does not wait for it.
            tokio::select! {
                () = &mut note, if finished.working && !noted => noted = true,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        finished.stderr = tail(&fs::read(&err).unwrap_or_default());
        if asked {
            return Err(Failure::msg(Kind::Cancelled, format!("cancelled during terraform {what}"))
                .hint("what was made is in the state: setup goes on where it stopped; cleanup removes it"));
        }
        Ok(finished)
    }

    fn take(&self, lines: &mut Lines, finished: &mut Finished) -> io::Result<()> {
        while let Some(line) = lines.next()? {
            let Some(message) = stream::read(&line) else { continue };
            if let Some(text) = stream::progress(&message) {
                (self.progress)(&text);
            }
            match message {
                Message::Started { .. } => finished.working = true,
                Message::Diagnostic(diagnostic) if diagnostic.severity == "error" => finished.errors.push(diagnostic),
                _ => {}
            }
        }
        Ok(())
    }

    fn failed(&self, what: &str, finished: &Finished) -> Failure {
        let mut chain = anyhow::anyhow!("{}", words(finished));
        if let Some(first) = finished.errors.first() {
            let at = first.address.as_deref().map(|address| format!(" ({address})")).unwrap_or_default();
            chain = anyhow::anyhow!("{}{at}", whole(first));
        }
        let mut failure = Failure::new(Kind::Infrastructure, chain.context(format!("terraform {what} failed")));
        for more in finished.errors.iter().skip(1) {
            failure = failure.hint(format!("terraform also says: {}", whole(more)));
        }
        for hint in finished.errors.iter().filter_map(hint) {
            failure = failure.hint(hint);
        }
        failure.hint(format!("the whole output is in {}", self.dir.display()))
    }
}

/// The fitting hint to an error of Terraform or the provider.
fn hint(diagnostic: &Diagnostic) -> Option<String> {
    let text = format!("{}\n{}", diagnostic.summary, diagnostic.detail);
    let has = |part: &str| text.to_lowercase().contains(&part.to_lowercase());
    let line = |name: &str| {
        let value = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
        Some(value.trim().to_owned())
    };
    Some(match () {
        () if has("quota") => {
            "ask for more quota: https://portal.azure.com/#view/Microsoft_Azure_Capacity/QuotaMenuBlade".into()
        }
        () if has("SkuNotAvailable") || has("AllocationFailed") || has("AvailabilityZoneNotSupported") => {
            "the region has no room for this VM size now: try later, another size, or other zones".into()
        }
        () if has("state lock") || has(LOCKED) => {
            let who = line("Who:").unwrap_or_else(|| "another terraform".into());
            let since = line("Created:").map(|since| format!(" since {since}")).unwrap_or_default();
            format!("{who} holds the state{since}; wait for it to end")
        }
        () if has("AADSTS")
            || has("az login")
            || has("unable to build authorizer")
            || has("ExpiredAuthenticationToken") =>
        {
            "the login has expired or is missing: az login".into()
        }
        () if has("saved plan is stale") => "the state has changed since the plan was made: run setup again".into(),
        () if has("ScopeLocked") => "a lock on the resource group keeps it: az lock list".into(),
        () if has("AuthorizationFailed") => {
            "the role lacks a permission; docs/azure.md lists those that are needed".into()
        }
        () if has("Failed to query available provider packages") || has("could not connect to registry") => {
            "terraform found no azurerm provider: it needs the network, or a filesystem mirror".into()
        }
        () => return None,
    })
}

fn whole(diagnostic: &Diagnostic) -> String {
    let (summary, detail) = (diagnostic.summary.trim(), diagnostic.detail.trim());
    if detail.is_empty() { summary.to_owned() } else { format!("{summary}: {detail}") }
}

fn words(finished: &Finished) -> String {
    let how = finished.code.map_or_else(|| "a signal ended it".to_owned(), |code| format!("it ended with {code}"));
    if finished.stderr.is_empty() { how } else { format!("{how}: {}", finished.stderr) }
}

/// Whole lines of a file that grows.
struct Lines {
    reader: BufReader<fs::File>,
    partial: Vec<u8>,
}

impl Lines {
    fn next(&mut self) -> io::Result<Option<String>> {
        // A reader at the end of a file does not see what is added unless it is told to look.
        let at = self.reader.stream_position()?;
        self.reader.seek(SeekFrom::Start(at))?;
        self.reader.read_until(b'\n', &mut self.partial)?;
        if !self.partial.ends_with(b"\n") {
            return Ok(None);
        }
        // A provider may pass on what is no UTF-8.
        Ok(Some(String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned()))
    }
}

fn interrupt(pid: u32) {
    // One that has ended in the meantime is what was wanted.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::INT);
    }
}

/// The first `MAJOR.MINOR` in what a program says of itself.
pub fn first_version(text: &str) -> Option<(u32, u32)> {
    text.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(summary: &str, detail: &str) -> Diagnostic {
        Diagnostic { severity: "error".into(), summary: summary.into(), detail: detail.into(), address: None }
    }

    #[test]
    fn each_known_error_has_its_hint() {
        let rows = [
            ("creating Cluster: ErrCode_InsufficientVCPUQuota: Insufficient vcpu quota", "", "more quota"),
            ("creating: AllocationFailed", "", "no room for this VM size"),
            (
                "Error acquiring the state lock",
                "Lock Info:\n  ID: 1\n  Who:       ann@laptop\n  Created:   2026-11-25 02:00\n",
                "ann@laptop holds the state since 2026-11-25 02:00",
            ),
            ("unable to build authorizer for Resource Manager API", "", "az login"),
            ("Saved plan is stale", "", "run setup again"),
            ("deleting: ScopeLocked", "", "az lock list"),
            ("Failed to query available provider packages", "", "filesystem mirror"),
        ];
        for (summary, detail, part) in rows {
            let hint = hint(&diagnostic(summary, detail)).unwrap_or_default();
            assert!(hint.contains(part), "{summary}: {hint}");
        }
        assert_eq!(hint(&diagnostic("something else", "")), None);
    }

    #[test]
    fn versions_are_read_as_programs_tell_them() {
        for (text, version) in [
            ("1.11.4", Some((1, 11))),
            ("1.12.0-alpha1", Some((1, 12))),
            ("v1", None),
            ("{\n  \"terraform_version\": \"1.15.0-dev\",\n  \"platform\": \"linux_amd64\"\n}", Some((1, 15))),
            (
                "{ \"clientVersion\": { \"major\": \"1\", \"minor\": \"32\", \"gitVersion\": \"v1.32.3\" } }",
                Some((1, 32)),
            ),
            ("k6 v1.8.1 (go1.26.0, linux/amd64)\n", Some((1, 8))),
            ("{ \"azure-cli\": \"2.80.0\", \"azure-cli-core\": \"2.80.0\" }", Some((2, 80))),
            ("no version at all, 7 words", None),
        ] {
            assert_eq!(first_version(text), version, "{text}");
        }
    }

    #[test]
    fn a_line_that_is_half_written_is_read_when_it_is_whole() -> io::Result<()> {
        use std::io::Write as _;
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("out");
        let mut writer = fs::File::create(&path)?;
        let mut lines = Lines { reader: BufReader::new(fs::File::open(&path)?), partial: Vec::new() };
        writer.write_all(b"one\ntw")?;
        assert_eq!(lines.next()?.as_deref(), Some("one\n"));
        assert_eq!(lines.next()?, None);
        writer.write_all(b"o\n")?;
        assert_eq!(lines.next()?.as_deref(), Some("two\n"));
        writer.write_all(b"caf\xe9\nlast\n")?;
        assert_eq!(lines.next()?.as_deref(), Some("caf\u{fffd}\n"), "bytes that are no text do not end it");
        assert_eq!(lines.next()?.as_deref(), Some("last\n"));
        Ok(())
    }
}
