//! Commands: from arguments to replies.

use std::time::{Duration, Instant};

use bytes::Bytes;
use redis_protocol::resp2::types::BytesFrame;

use super::db::{Db, Expiry, Server, Value, WrongType};

/// A reply, now or when a list has grown.
pub(super) enum Reply {
    Now(BytesFrame),
    Wait {
        /// The command to try again.
        again: Vec<Bytes>,
        /// `None`: for ever.
        timeout: Option<Duration>,
        /// What is answered when the time is over.
        empty: BytesFrame,
    },
}

impl Reply {
    pub(super) fn error(text: impl Into<String>) -> Self {
        Self::Now(error(text))
    }
}

/// What one connection remembers.
#[derive(Debug, Default)]
pub(super) struct Session {
    queued: Option<Vec<Vec<Bytes>>>,
    spoiled: bool,
    watched: Option<u64>,
    /// The client said goodbye.
    pub(super) quit: bool,
}

type Outcome = Result<BytesFrame, BytesFrame>;

impl From<WrongType> for BytesFrame {
    fn from(_: WrongType) -> Self {
        error("WRONGTYPE Operation against a key holding the wrong kind of value")
    }
}

pub(super) fn error(text: impl Into<String>) -> BytesFrame {
    BytesFrame::Error(text.into().into())
}

fn ok() -> BytesFrame {
    BytesFrame::SimpleString(Bytes::from_static(b"OK"))
}

fn int(value: usize) -> BytesFrame {
    BytesFrame::Integer(value as i64)
}

fn bulk(value: Option<Bytes>) -> BytesFrame {
    value.map_or(BytesFrame::Null, BytesFrame::BulkString)
}

fn array(values: impl IntoIterator<Item = Bytes>) -> BytesFrame {
    BytesFrame::Array(values.into_iter().map(BytesFrame::BulkString).collect())
}

/// Least number of arguments, the command's name included; a negative number allows more.
fn arity(name: &str) -> Option<i32> {
    Some(match name {
        "MULTI" | "EXEC" | "DISCARD" | "UNWATCH" | "DBSIZE" => 1,
        "GET" | "TYPE" | "TTL" | "PTTL" | "PERSIST" | "INCR" | "DECR" | "LLEN" | "SCARD" | "SMEMBERS" | "HLEN"
        | "HGETALL" | "HKEYS" | "HVALS" | "STRLEN" | "ZCARD" | "KEYS" | "ECHO" | "SELECT" => 2,
        "HGET" | "HEXISTS" | "SISMEMBER" | "INCRBY" | "DECRBY" | "LINDEX" | "RPOPLPUSH" | "SETNX" => 3,
        "LRANGE" | "LREM" | "LTRIM" | "HSETNX" | "HINCRBY" | "PSETEX" | "SETEX" => 4,
        "LMOVE" => 5,
        "BLMOVE" => 6,
        "PING" | "HELLO" | "INFO" | "COMMAND" | "FLUSHALL" | "FLUSHDB" | "QUIT" | "RESET" => -1,
        "DEL" | "UNLINK" | "EXISTS" | "MGET" | "CLIENT" | "CONFIG" | "LPOP" | "RPOP" | "WATCH" | "SCAN" => -2,
        "SET" | "LPUSH" | "RPUSH" | "HDEL" | "HMGET" | "SADD" | "SREM" | "EXPIRE" | "PEXPIRE" | "HSCAN" => -3,
        "HSET" | "HMSET" => -4,
        _ => return None,
    })
}

impl Session {
    /// Runs one command, or queues it inside `MULTI`.
    pub(super) fn execute(&mut self, server: &Server, arguments: Vec<Bytes>) -> Reply {
        let Some(first) = arguments.first() else { return Reply::error("ERR empty command") };
        let name = String::from_utf8_lossy(first).to_ascii_uppercase();
        let given = arguments.len() as i32;
        let fits = match arity(&name) {
            None => {
                self.spoiled = true;
                let shown = String::from_utf8_lossy(first);
                return Reply::error(format!("ERR unknown command '{shown}', with args beginning with: "));
            }
            Some(least) if least < 0 => given >= -least,
            Some(exact) => given == exact,
        };
        if !fits {
            self.spoiled = true;
            let name = name.to_ascii_lowercase();
            return Reply::error(format!("ERR wrong number of arguments for '{name}' command"));
        }
        match name.as_str() {
            "MULTI" | "EXEC" | "DISCARD" | "WATCH" | "UNWATCH" => return Reply::Now(self.transaction(server, &name)),
            "QUIT" => {
                self.quit = true;
                return Reply::Now(ok());
            }
            _ => {}
        }
        if let Some(queued) = &mut self.queued {
            queued.push(arguments);
            return Reply::Now(BytesFrame::SimpleString(Bytes::from_static(b"QUEUED")));
        }
        run(server, &name, arguments)
    }

    fn transaction(&mut self, server: &Server, name: &str) -> BytesFrame {
        match name {
            "MULTI" if self.queued.is_some() => error("ERR MULTI calls can not be nested"),
            "MULTI" => {
                (self.queued, self.spoiled) = (Some(Vec::new()), false);
                ok()
            }
            "WATCH" if self.queued.is_some() => error("ERR WATCH inside MULTI is not allowed"),
            "WATCH" => {
                // Coarser than Redis: any change, not only one of the watched keys, makes EXEC answer null.
                self.watched.get_or_insert(server.db.borrow().version);
                ok()
            }
            "UNWATCH" => {
                self.watched = None;
                ok()
            }
            "DISCARD" => match self.queued.take() {
                Some(_) => {
                    self.watched = None;
                    ok()
                }
                None => error("ERR DISCARD without MULTI"),
            },
            _ => self.exec(server),
        }
    }

    fn exec(&mut self, server: &Server) -> BytesFrame {
        let Some(queued) = self.queued.take() else { return error("ERR EXEC without MULTI") };
        let watched = self.watched.take();
        if std::mem::take(&mut self.spoiled) {
            return error("EXECABORT Transaction discarded because of previous errors.");
        }
        if watched.is_some_and(|version| version != server.db.borrow().version) {
            return BytesFrame::Null;
        }
        let replies = queued.into_iter().map(|arguments| {
            let name = String::from_utf8_lossy(&arguments[0]).to_ascii_uppercase();
            match run(server, &name, arguments) {
                Reply::Now(reply) => reply,
                Reply::Wait { empty, .. } => empty,
            }
        });
        BytesFrame::Array(replies.collect())
    }
}

fn run(server: &Server, name: &str, arguments: Vec<Bytes>) -> Reply {
    let mut db = server.db.borrow_mut();
    let a = &arguments[1..];
    let outcome = match name {
        "BLMOVE" => return blocking_move(&mut db, arguments, server),
        "LPUSH" | "RPUSH" | "LMOVE" | "RPOPLPUSH" => {
            let outcome = list_command(&mut db, name, a);
            server.grown.notify_waiters();
            outcome
        }
        "LPOP" | "RPOP" | "LLEN" | "LRANGE" | "LREM" | "LINDEX" | "LTRIM" => list_command(&mut db, name, a),
        "SADD" | "SREM" | "SMEMBERS" | "SCARD" | "SISMEMBER" => set_command(&mut db, name, a),
        _ if name.starts_with('H') && name != "HELLO" => hash_command(&mut db, name, a),
        "GET" | "SET" | "SETNX" | "SETEX" | "PSETEX" | "MGET" | "STRLEN" | "INCR" | "DECR" | "INCRBY" | "DECRBY" => {
            string_command(&mut db, name, a)
        }
        _ => key_command(&mut db, name, a),
    };
    Reply::Now(outcome.unwrap_or_else(|error| error))
}

fn blocking_move(db: &mut Db, arguments: Vec<Bytes>, server: &Server) -> Reply {
    let seconds: f64 = match text(&arguments[5]).parse() {
        Ok(seconds) if seconds >= 0.0 => seconds,
        _ => return Reply::error("ERR timeout is not a float or out of range"),
    };
    match list_command(db, "LMOVE", &arguments[1..5]) {
        Ok(BytesFrame::Null) => {
            let timeout = (seconds > 0.0).then(|| Duration::from_secs_f64(seconds));
            Reply::Wait { again: arguments, timeout, empty: BytesFrame::Null }
        }
        outcome => {
            server.grown.notify_waiters();
            Reply::Now(outcome.unwrap_or_else(|error| error))
        }
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn integer(bytes: &Bytes) -> Result<i64, BytesFrame> {
    text(bytes).parse().map_err(|_| error("ERR value is not an integer or out of range"))
}

fn syntax() -> BytesFrame {
    error("ERR syntax error")
}

fn list_command(db: &mut Db, name: &str, a: &[Bytes]) -> Outcome {
    match name {
        "LPUSH" | "RPUSH" => {
            let list = db.list_mut(&a[0])?;
            for value in &a[1..] {
                if name == "LPUSH" { list.push_front(value.clone()) } else { list.push_back(value.clone()) }
            }
            Ok(int(list.len()))
        }
        "LPOP" | "RPOP" => pop(db, name == "LPOP", a),
        "LLEN" => Ok(int(db.list(&a[0])?.map_or(0, std::collections::VecDeque::len))),
        "LINDEX" => {
            let index = integer(&a[1])?;
            let list = db.list(&a[0])?;
            Ok(bulk(list.and_then(|list| list.get(position(index, list.len())?).cloned())))
        }
        "LRANGE" => {
            let (start, stop) = (integer(&a[1])?, integer(&a[2])?);
            let Some(list) = db.list(&a[0])? else { return Ok(array([])) };
            let (from, to) = range(start, stop, list.len());
            Ok(array(list.range(from..to).cloned()))
        }
        "LTRIM" => {
            let (start, stop) = (integer(&a[1])?, integer(&a[2])?);
            let list = db.list_mut(&a[0])?;
            let (from, to) = range(start, stop, list.len());
            list.truncate(to);
            list.drain(..from.min(list.len()));
            db.remove_if_empty(&a[0]);
            Ok(ok())
        }
        "LREM" => remove_from_list(db, a),
        _ => {
            let (from_left, to_left) = match name {
                "RPOPLPUSH" => (false, true),
                _ => (side(&a[2])?, side(&a[3])?),
            };
            move_between(db, &a[0], &a[1], from_left, to_left)
        }
    }
}

fn pop(db: &mut Db, left: bool, a: &[Bytes]) -> Outcome {
    let count = a.get(1).map(integer).transpose()?;
    if count.is_some_and(|count| count < 0) {
        return Err(error("ERR value is out of range, must be positive"));
    }
    if db.list(&a[0])?.is_none() {
        return Ok(BytesFrame::Null);
    }
    let list = db.list_mut(&a[0])?;
    let mut take = || if left { list.pop_front() } else { list.pop_back() };
    let reply = match count {
        None => bulk(take()),
        Some(count) => array((0..count).map_while(|_| take()).collect::<Vec<_>>()),
    };
    db.remove_if_empty(&a[0]);
    Ok(reply)
}

fn remove_from_list(db: &mut Db, a: &[Bytes]) -> Outcome {
    let count = integer(&a[1])?;
    if db.list(&a[0])?.is_none() {
        return Ok(int(0));
    }
    let list = db.list_mut(&a[0])?;
    let limit = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let mut removed = 0;
    let mut keep = |value: &Bytes| {
        let gone = *value == a[2] && removed < limit;
        removed += usize::from(gone);
        !gone
    };
    if count < 0 {
        let kept: Vec<_> = list.drain(..).rev().filter(|value| keep(value)).collect();
        list.extend(kept.into_iter().rev());
    } else {
        list.retain(|value| keep(value));
    }
    db.remove_if_empty(&a[0]);
    Ok(int(removed))
}

fn move_between(db: &mut Db, from: &Bytes, to: &Bytes, from_left: bool, to_left: bool) -> Outcome {
    if db.list(from)?.is_none() {
        return Ok(BytesFrame::Null);
    }
    db.list(to)?;
    let list = db.list_mut(from)?;
    let Some(value) = (if from_left { list.pop_front() } else { list.pop_back() }) else { return Ok(BytesFrame::Null) };
    let target = db.list_mut(to)?;
    if to_left {
        target.push_front(value.clone());
    } else {
        target.push_back(value.clone());
    }
    db.remove_if_empty(from);
    Ok(bulk(Some(value)))
}

fn side(bytes: &Bytes) -> Result<bool, BytesFrame> {
    match text(bytes).to_ascii_uppercase().as_str() {
        "LEFT" => Ok(true),
        "RIGHT" => Ok(false),
        _ => Err(syntax()),
    }
}

fn position(index: i64, length: usize) -> Option<usize> {
    let at = if index < 0 { index + length as i64 } else { index };
    usize::try_from(at).ok().filter(|at| *at < length)
}

/// Redis' inclusive, perhaps negative, range as a half-open one within the list.
fn range(start: i64, stop: i64, length: usize) -> (usize, usize) {
    let length = length as i64;
    let absolute = |index: i64| if index < 0 { (index + length).max(0) } else { index };
    let from = absolute(start).min(length);
    let to = if stop < 0 { stop + length + 1 } else { (stop + 1).min(length) };
    (from as usize, to.max(from) as usize)
}

fn set_command(db: &mut Db, name: &str, a: &[Bytes]) -> Outcome {
    match name {
        "SADD" => {
            let set = db.set_mut(&a[0])?;
            Ok(int(a[1..].iter().filter(|member| set.insert((*member).clone())).count()))
        }
        "SREM" => {
            if db.set(&a[0])?.is_none() {
                return Ok(int(0));
            }
            let set = db.set_mut(&a[0])?;
            let removed = a[1..].iter().filter(|member| set.remove(*member)).count();
            db.remove_if_empty(&a[0]);
            Ok(int(removed))
        }
        "SMEMBERS" => Ok(array(db.set(&a[0])?.into_iter().flatten().cloned())),
        "SCARD" => Ok(int(db.set(&a[0])?.map_or(0, std::collections::BTreeSet::len))),
        _ => Ok(int(usize::from(db.set(&a[0])?.is_some_and(|set| set.contains(&a[1]))))),
    }
}

fn hash_command(db: &mut Db, name: &str, a: &[Bytes]) -> Outcome {
    match name {
        "HSET" | "HMSET" => {
            let pairs = a[1..].chunks_exact(2);
            if !pairs.remainder().is_empty() {
                let name = name.to_ascii_lowercase();
                return Err(error(format!("ERR wrong number of arguments for '{name}' command")));
            }
            let hash = db.hash_mut(&a[0])?;
            let added = pairs.filter(|pair| hash.insert(pair[0].clone(), pair[1].clone()).is_none()).count();
            Ok(if name == "HSET" { int(added) } else { ok() })
        }
        "HSETNX" => {
            let hash = db.hash_mut(&a[0])?;
            let new = !hash.contains_key(&a[1]);
            if new {
                hash.insert(a[1].clone(), a[2].clone());
            }
            Ok(int(usize::from(new)))
        }
        "HINCRBY" => {
            let by = integer(&a[2])?;
            let hash = db.hash_mut(&a[0])?;
            let now = hash.get(&a[1]).map_or(Ok(0), integer).map_err(|_| error("ERR hash value is not an integer"))?;
            let next = now.checked_add(by).ok_or_else(|| error("ERR increment or decrement would overflow"))?;
            hash.insert(a[1].clone(), Bytes::from(next.to_string()));
            Ok(BytesFrame::Integer(next))
        }
        "HDEL" => {
            if db.hash(&a[0])?.is_none() {
                return Ok(int(0));
            }
            let hash = db.hash_mut(&a[0])?;
            let removed = a[1..].iter().filter(|field| hash.remove(*field).is_some()).count();
            db.remove_if_empty(&a[0]);
            Ok(int(removed))
        }
        "HGET" => Ok(bulk(db.hash(&a[0])?.and_then(|hash| hash.get(&a[1]).cloned()))),
        "HMGET" => {
            let hash = db.hash(&a[0])?;
            let fields = a[1..].iter().map(|field| bulk(hash.and_then(|hash| hash.get(field).cloned())));
            Ok(BytesFrame::Array(fields.collect()))
        }
        "HLEN" => Ok(int(db.hash(&a[0])?.map_or(0, std::collections::BTreeMap::len))),
        "HEXISTS" => Ok(int(usize::from(db.hash(&a[0])?.is_some_and(|hash| hash.contains_key(&a[1]))))),
        "HKEYS" => Ok(array(db.hash(&a[0])?.into_iter().flatten().map(|(field, _)| field.clone()))),
        "HVALS" => Ok(array(db.hash(&a[0])?.into_iter().flatten().map(|(_, value)| value.clone()))),
        "HGETALL" => {
            let pairs = db.hash(&a[0])?.into_iter().flatten();
            Ok(array(pairs.flat_map(|(field, value)| [field.clone(), value.clone()])))
        }
        _ => scan_hash(db, a),
    }
}

/// The cursor is the number of fields that were passed; good enough for a hash that does not shrink meanwhile.
fn scan_hash(db: &mut Db, a: &[Bytes]) -> Outcome {
    let (cursor, count, pattern) = scan_options(&a[1..])?;
    let Some(hash) = db.hash(&a[0])? else { return Ok(scan_reply(0, Vec::new())) };
    let page = hash.iter().skip(cursor).take(count);
    let found: Vec<_> = page
        .filter(|(field, _)| pattern.as_deref().is_none_or(|pattern| glob(pattern, field)))
        .flat_map(|(field, value)| [field.clone(), value.clone()])
        .collect();
    let next = if cursor + count >= hash.len() { 0 } else { cursor + count };
    Ok(scan_reply(next, found))
}

fn scan_options(a: &[Bytes]) -> Result<(usize, usize, Option<Vec<u8>>), BytesFrame> {
    let cursor = text(&a[0]).parse().map_err(|_| error("ERR invalid cursor"))?;
    let (mut count, mut pattern) = (10, None);
    let mut rest = a[1..].chunks_exact(2);
    for option in &mut rest {
        match text(&option[0]).to_ascii_uppercase().as_str() {
            "COUNT" => count = usize::try_from(integer(&option[1])?).ok().filter(|n| *n > 0).ok_or_else(syntax)?,
            "MATCH" => pattern = Some(option[1].to_vec()),
            "TYPE" => {}
            _ => return Err(syntax()),
        }
    }
    if rest.remainder().is_empty() { Ok((cursor, count, pattern)) } else { Err(syntax()) }
}

fn scan_reply(cursor: usize, found: Vec<Bytes>) -> BytesFrame {
    BytesFrame::Array(vec![bulk(Some(Bytes::from(cursor.to_string()))), array(found)])
}

/// Redis' patterns, as far as `*` and `?` go.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.first(), text.first()) {
        (None, None) => true,
        (Some(b'*'), _) => glob(&pattern[1..], text) || (!text.is_empty() && glob(pattern, &text[1..])),
        (Some(b'?'), Some(_)) => glob(&pattern[1..], &text[1..]),
        (Some(p), Some(t)) if p == t => glob(&pattern[1..], &text[1..]),
        _ => false,
    }
}

fn string_command(db: &mut Db, name: &str, a: &[Bytes]) -> Outcome {
    let after = |seconds: bool, amount: &Bytes| -> Result<Instant, BytesFrame> {
        let amount = u64::try_from(integer(amount)?).ok().filter(|amount| *amount > 0);
        let amount = amount.ok_or_else(|| error("ERR invalid expire time in 'set' command"))?;
        Ok(Instant::now() + if seconds { Duration::from_secs(amount) } else { Duration::from_millis(amount) })
    };
    match name {
        "GET" => Ok(bulk(db.string(&a[0])?)),
        "STRLEN" => Ok(int(db.string(&a[0])?.map_or(0, |value| value.len()))),
        "MGET" => Ok(BytesFrame::Array(a.iter().map(|key| bulk(db.string(key).unwrap_or_default())).collect())),
        "SETNX" => {
            let new = db.get(&a[0]).is_none();
            if new {
                db.set_string(a[0].clone(), a[1].clone(), None);
            }
            Ok(int(usize::from(new)))
        }
        "SETEX" | "PSETEX" => {
            let expires = after(name == "SETEX", &a[1])?;
            db.set_string(a[0].clone(), a[2].clone(), Some(expires));
            Ok(ok())
        }
        "SET" => {
            let (mut expires, mut only_new, mut only_old) = (None, false, false);
            let mut options = a[2..].iter();
            while let Some(option) = options.next() {
                match text(option).to_ascii_uppercase().as_str() {
                    "NX" => only_new = true,
                    "XX" => only_old = true,
                    "EX" => expires = Some(after(true, options.next().ok_or_else(syntax)?)?),
                    "PX" => expires = Some(after(false, options.next().ok_or_else(syntax)?)?),
                    _ => return Err(syntax()),
                }
            }
            let exists = db.get(&a[0]).is_some();
            if (only_new && exists) || (only_old && !exists) {
                return Ok(BytesFrame::Null);
            }
            db.set_string(a[0].clone(), a[1].clone(), expires);
            Ok(ok())
        }
        _ => {
            let by = a.get(1).map_or(Ok(1), integer)?;
            let by = if name.starts_with("DECR") { by.checked_neg() } else { Some(by) };
            let now = db.string(&a[0])?.map_or(Ok(0), |value| integer(&value))?;
            let next = by.and_then(|by| now.checked_add(by));
            let next = next.ok_or_else(|| error("ERR increment or decrement would overflow"))?;
            db.replace_string(a[0].clone(), Bytes::from(next.to_string()));
            Ok(BytesFrame::Integer(next))
        }
    }
}

fn key_command(db: &mut Db, name: &str, a: &[Bytes]) -> Outcome {
    Ok(match name {
        "PING" => a.first().map_or(BytesFrame::SimpleString(Bytes::from_static(b"PONG")), |m| bulk(Some(m.clone()))),
        "ECHO" => bulk(Some(a[0].clone())),
        "SELECT" if text(&a[0]) == "0" => ok(),
        "SELECT" => return Err(error("ERR DB index is out of range")),
        "DEL" | "UNLINK" => int(a.iter().filter(|key| db.remove(key)).count()),
        "EXISTS" => int(a.iter().filter(|key| db.get(key).is_some()).count()),
        "TYPE" => {
            let kind = match db.get(&a[0]) {
                None => "none",
                Some(Value::String(_)) => "string",
                Some(Value::List(_)) => "list",
                Some(Value::Hash(_)) => "hash",
                Some(Value::Set(_)) => "set",
            };
            BytesFrame::SimpleString(Bytes::from_static(kind.as_bytes()))
        }
        "TTL" | "PTTL" => BytesFrame::Integer(match db.expiry(&a[0]) {
            Expiry::NoKey => -2,
            Expiry::Never => -1,
            Expiry::At(at) => {
                let left = at.saturating_duration_since(Instant::now()).as_millis() as i64;
                if name == "TTL" { (left + 500) / 1000 } else { left }
            }
        }),
        "PERSIST" => int(usize::from(matches!(db.expiry(&a[0]), Expiry::At(_)) && db.set_deadline(&a[0], None))),
        "EXPIRE" | "PEXPIRE" => {
            let unit = if name == "EXPIRE" { 1000 } else { 1 };
            let millis = u64::try_from(integer(&a[1])?.saturating_mul(unit)).unwrap_or(0);
            int(usize::from(db.set_deadline(&a[0], Some(Instant::now() + Duration::from_millis(millis)))))
        }
        "KEYS" => array(db.keys().filter(|key| glob(&a[0], key)).cloned().collect::<Vec<_>>()),
        "SCAN" => {
            let (cursor, count, pattern) = scan_options(a)?;
            let page = db.keys().skip(cursor).take(count);
            let found = page.filter(|key| pattern.as_deref().is_none_or(|pattern| glob(pattern, key))).cloned();
            let found: Vec<_> = found.collect();
            scan_reply(if cursor + count >= db.keys().count() { 0 } else { cursor + count }, found)
        }
        "DBSIZE" => int(db.keys().count()),
        "FLUSHALL" | "FLUSHDB" => {
            db.clear();
            ok()
        }
        "ZCARD" if db.get(&a[0]).is_none() => int(0),
        "ZCARD" => return Err(WrongType.into()),
        "INFO" => {
            let server = "# Server\r\nredis_version:7.4.0\r\nredis_mode:standalone\r\nserver:democtl embedded\r\n";
            let info = format!("{server}# Keyspace\r\ndb0:keys={}\r\n", db.keys().count());
            bulk(Some(Bytes::from(info)))
        }
        "HELLO" => match a.first().map(text).as_deref() {
            None | Some("2") => array(
                ["server", "redis", "version", "7.4.0", "proto", "2", "mode", "standalone"]
                    .map(|text| Bytes::from_static(text.as_bytes())),
            ),
            Some(_) => return Err(error("NOPROTO unsupported protocol version")),
        },
        "CONFIG" | "COMMAND" => array([]),
        "CLIENT" | "RESET" => ok(),
        _ => return Err(error(format!("ERR unknown command '{}'", name.to_ascii_lowercase()))),
    })
}
