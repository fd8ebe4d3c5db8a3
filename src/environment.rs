//! Environments on disk: one profile on one target, set up under a name; owns a ledger, a kubeconfig and runs.
//!
//! ```text
//! <home>/environments/<name>/
//!   environment.json   what was asked for (profile texts, overrides, target, speed, seed)
//!   lock               held while a command changes the environment
//!   ledger.jsonl       what was made
//!   kubeconfig         0600
//!   deploy/            rendered manifests, what Argo CD syncs
//!   cluster/           the local target's own files
//!   terraform/         the azure target's module, variables, state and logs
//!   runs/<id>/         events.jsonl, samples, summary.json
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use democtl_core::profile::{self, Profile, Source};
use serde::{Deserialize, Serialize};

use crate::{
    failure::{Failure, Kind, OrFail as _},
    ledger::Ledger,
    target::{Target, azure::Place},
};

/// What was asked for at `setup`; remembered, so that later commands need only the name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Name or path of the profile as it was given.
    pub profile: String,
    /// The texts of the profile and of all that it extends or names, by name.
    pub sources: BTreeMap<String, String>,
    /// Overrides, `path` and `value`.
    pub sets: Vec<(String, String)>,
    /// Where it runs.
    pub target: Target,
    /// Durations are divided by this on the local target.
    pub speed: f64,
    /// Seed of every draw.
    pub seed: u64,
    /// Where it lies in Azure; only on the azure target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<Place>,
}

impl Request {
    /// Reads a profile by name (built in) or path, with everything that it extends, and checks it.
    pub fn resolve(
        profile: &str,
        sets: Vec<(String, String)>,
        target: Target,
        speed: f64,
        seed: u64,
    ) -> Result<(Self, Profile), Failure> {
        if target == Target::Azure && (speed - 1.0).abs() > f64::EPSILON {
            return Err(Failure::msg(Kind::Usage, format!("speed {speed} on azure: a real cluster has its own clock"))
                .hint("leave --speed out, or use --target local"));
        }
        if !(speed.is_finite() && (0.1..=100.0).contains(&speed)) {
            return Err(Failure::msg(Kind::Usage, format!("speed {speed} is outside 0.1 to 100")));
        }
        let sources = std::cell::RefCell::new(BTreeMap::new());
        let base = Path::new(profile).parent().map(Path::to_owned).unwrap_or_default();
        let find = |name: &str| {
            let source = read_source(&base, name)?;
            sources.borrow_mut().insert(name.to_owned(), source.text.clone());
            Some(source)
        };
        let Some(main) = find(profile) else { return Err(unknown_profile(profile)) };
        let checked = Profile::load(&main, &sets, &find).map_err(|errors| profile_failure(profile, &errors))?;
        let sources = sources.into_inner();
        Ok((Self { profile: profile.to_owned(), sources, sets, target, speed, seed, azure: None }, checked))
    }

    /// The profile, from the remembered texts.
    pub fn profile(&self) -> Result<Profile, Failure> {
        if !self.sources.contains_key(&self.profile) {
            return Err(unknown_profile(&self.profile));
        }
        self.profile_with(&[]).map_err(|errors| profile_failure(&self.profile, &errors))
    }

    /// The profile with further overrides.
    pub fn profile_with(&self, more: &[(String, String)]) -> Result<Profile, profile::ProfileErrors> {
        Profile::load(&self.source(), &[&self.sets, more].concat(), &|name| self.find(name))
    }

    /// The profile as one text, with all that it extends and every override.
    pub fn merged(&self) -> Result<String, Failure> {
        let merged = Profile::merged(&self.source(), &self.sets, &|name| self.find(name));
        merged.map_err(|errors| profile_failure(&self.profile, &errors))
    }

    fn find(&self, name: &str) -> Option<Source> {
        self.sources.get(name).map(|text| named(name, text.clone()))
    }

    fn source(&self) -> Source {
        self.find(&self.profile).unwrap_or_else(|| named(&self.profile, String::new()))
    }
}

/// Reads a text as the profile that it would be in that file.
pub fn check_profile(file: &Path, text: &str) -> Result<Profile, Failure> {
    let base = file.parent().map(Path::to_owned).unwrap_or_default();
    let name = file.display().to_string();
    let main = Source { name: name.clone(), text: text.to_owned() };
    // What the text extends may extend this very file, as it will be.
    let own = std::path::absolute(file).ok();
    let find = |name: &str| {
        if std::path::absolute(name).ok() == own {
            Some(named(name, text.to_owned()))
        } else {
            read_source(&base, name)
        }
    };
    Profile::load(&main, &[], &find).map_err(|errors| profile_failure(&name, &errors))
}

fn named(name: &str, text: String) -> Source {
    let name = if name.ends_with(".toml") { name.to_owned() } else { format!("{name}.toml") };
    Source { name, text }
}

/// A text by name: a built-in profile, a file, or a file beside the profile that names it.
fn read_source(base: &Path, name: &str) -> Option<Source> {
    if let Some(builtin) = profile::builtin(name) {
        return Some(builtin);
    }
    let file = named(name, String::new()).name;
    let text = fs::read_to_string(&file).or_else(|_| fs::read_to_string(base.join(&file))).ok()?;
    Some(named(name, text))
}

/// Whether there is a profile to be read by that name or path, sound or not.
pub fn is_profile(name: &str) -> bool {
    read_source(Path::new(""), name).is_some()
}

fn unknown_profile(name: &str) -> Failure {
    if name.ends_with(".toml") || name.contains('/') {
        let why = fs::read_to_string(name).err().map_or_else(|| "unknown".to_owned(), |error| error.to_string());
        return Failure::msg(Kind::Usage, format!("profile file {name} cannot be read: {why}"))
            .hint("democtl profile list shows the built-in profiles");
    }
    let known = profile::BUILTIN_PROFILES.map(|(name, _)| name);
    let message = format!("there is no profile {name:?}: it is not built in, and there is no file {name}.toml here");
    Failure::unknown(message, name, &known)
        .hint(format!("built in are {}; a file is given by its path, such as ./{name}.toml", known.join(", ")))
}

fn profile_failure(name: &str, errors: &profile::ProfileErrors) -> Failure {
    Failure::rendered(Kind::Usage, format!("profile {name} is not valid"), errors.to_text(100))
}

/// Where a [`Request`] is kept, in an environment and in each of its runs.
pub const REQUEST_FILE: &str = "environment.json";

/// The directory that holds all environments.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// A home at `path`; made when the first environment is.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// What may be thrown away and is fetched again.
    pub fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    /// Names of all environments, sorted.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.0.join("environments")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The environment called `name`, or the only one there is.
    pub fn pick(&self, name: Option<&str>) -> Result<Environment, Failure> {
        let names = self.names().or_fail(Kind::Other, || format!("cannot list {}", self.0.display()))?;
        let name = match (name, names.as_slice()) {
            (Some(name), _) if names.iter().any(|known| known == name) => name,
            (Some(name), []) => {
                return Err(Failure::msg(Kind::Usage, format!("there is no environment {name:?}: none is set up"))
                    .hint(format!("democtl setup --profile PROFILE --name {name}")));
            }
            (Some(name), _) => {
                return Err(Failure::unknown(format!("there is no environment {name:?}"), name, &names)
                    .hint(format!("set up are: {}", names.join(", "))));
            }
            (None, [only]) => only,
            (None, []) => {
                return Err(Failure::msg(Kind::Usage, "no environment is set up")
                    .hint("democtl setup --profile m3demo2, or democtl demo for the whole tour"));
            }
            (None, _) => {
                return Err(Failure::msg(Kind::Usage, format!("there are {} environments", names.len()))
                    .hint(format!("choose one with --name: {}", names.join(", "))));
            }
        };
        Ok(self.at(name))
    }

    /// The environment `name`, whether it exists or not.
    pub fn environment(&self, name: &str) -> Result<Environment, Failure> {
        let fits = !name.is_empty()
            && name.len() <= 40
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-');
        if fits {
            return Ok(self.at(name));
        }
        Err(Failure::msg(Kind::Usage, format!("{name:?} cannot name an environment"))
            .hint("1 to 40 lower-case letters, digits and hyphens, such as m3demo2-trial; give one with --name"))
    }

    fn at(&self, name: &str) -> Environment {
        Environment { name: name.to_owned(), dir: self.0.join("environments").join(name) }
    }
}

/// One environment's place on disk.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
}

/// Holds an environment's lock until dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

impl Environment {
    /// Makes the directory (0700) if it is not there.
    pub fn make_dir(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)
    }

    /// Takes the lock, or says who works on the environment.
    pub fn lock(&self) -> Result<Lock, Failure> {
        let path = self.dir.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .or_fail(Kind::Other, || format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) if !same_file(&file, &path) => {
                // A cleanup removed the file between its opening and its locking: this lock keeps nobody out.
                Err(Failure::msg(Kind::Preflight, format!("environment {} was removed just now", self.name))
                    .hint("try again"))
            }
            Ok(()) => {
                let note = format!("pid {}\n", std::process::id());
                // Only for the message below: a full disk must not keep cleanup from its work.
                let _ = file.set_len(0).and_then(|()| io::Write::write_all(&mut &file, note.as_bytes()));
                Ok(Lock(file))
            }
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                Err(Failure::msg(
                    Kind::Preflight,
                    format!("another democtl ({}) is working on environment {}", holder.trim(), self.name),
                )
                .hint("wait for it, or end it; nothing was changed"))
            }
            Err(TryLockError::Error(error)) => Err(Failure::new(
                Kind::Other,
                anyhow::Error::new(error).context(format!("cannot lock {}", path.display())),
            )),
        }
    }

    /// What was asked for, if `setup` got that far.
    pub fn request(&self) -> Result<Option<Request>, Failure> {
        let path = self.dir.join(REQUEST_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).or_fail(Kind::Other, || format!("cannot read {}", path.display())),
        };
        serde_json::from_str(&text)
            .map(Some)
            .or_fail(Kind::Other, || format!("{} is damaged", path.display()))
            .map_err(|failure| failure.hint(format!("democtl cleanup --name {}", self.name)))
    }

    /// What was asked for; an environment that was not set up fully enough is an error.
    pub fn require_request(&self) -> Result<Request, Failure> {
        self.request()?.ok_or_else(|| {
            Failure::msg(Kind::Usage, format!("environment {} was not set up", self.name))
                .hint(format!("democtl setup --profile PROFILE --name {}", self.name))
        })
    }

    /// Remembers what was asked for; whole or not at all.
    pub fn remember(&self, request: &Request) -> Result<(), Failure> {
        write_whole(&self.dir.join(REQUEST_FILE), &serde_json::to_vec_pretty(request).map_err(anyhow::Error::from)?)
            .or_fail(Kind::Other, || format!("cannot write into {}", self.dir.display()))
    }

    /// The ledger.
    pub fn ledger(&self) -> Result<Ledger, Failure> {
        let path = self.dir.join("ledger.jsonl");
        Ledger::open(&path)
            .or_fail(Kind::Other, || format!("cannot read the ledger {}", path.display()))
            .map_err(|failure| failure.hint(format!("democtl cleanup --name {}", self.name)))
    }

    /// Path of the kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Directory of the rendered manifests.
    pub fn deploy_dir(&self) -> PathBuf {
        self.dir.join("deploy")
    }

    /// Directory of the runs.
    pub fn runs_dir(&self) -> PathBuf {
        self.dir.join("runs")
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let same = |open: &fs::Metadata, named: &fs::Metadata| open.ino() == named.ino() && open.dev() == named.dev();
    matches!((file.metadata(), fs::metadata(path)), (Ok(open), Ok(named)) if same(&open, &named))
}

/// Writes a file so that a reader sees the old or the new content, never a part.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    io::Write::write_all(&mut file, content)?;
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
