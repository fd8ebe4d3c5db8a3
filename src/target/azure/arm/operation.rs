//! Long-running operations: accepted now, done later; told by `Azure-AsyncOperation`, by `Location`, or not at all.

use std::time::Duration;

use reqwest::{Method, Url};
use serde_json::Value;

use super::{Arm, ArmError, Call, Refusal, Reply, retry};

/// What the operation is to lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aim {
    Made,
    Gone,
}

/// Where to look.
#[derive(Debug)]
enum Look {
    /// A status document.
    Status(Url),
    /// 202 until it is done.
    Location(Url),
    /// The resource itself.
    Resource,
}

/// What was seen.
#[derive(Debug)]
enum Seen {
    Done,
    /// Still this, in ARM's word.
    Still(String),
    /// The address knows nothing (any more).
    Lost,
}

struct Waiting<'a> {
    arm: &'a Arm,
    method: Method,
    path: &'a str,
    version: &'a str,
    aim: Aim,
    since: Duration,
}

pub(super) async fn put(arm: &Arm, path: &str, version: &str, body: &Value) -> Result<Value, ArmError> {
    let waiting = Waiting::new(arm, Method::PUT, path, version, Aim::Made);
    loop {
        let reply = arm.send(&arm.call(Method::PUT, path, version, &[], Some(body))).await?;
        match Arm::accepted("PUT", path, reply) {
            Ok(reply) => {
                waiting.until_done(&reply).await?;
                return waiting.resource().await;
            }
            // Perhaps our own request, whose answer was lost. When it has ended, what is wanted is said once more.
            Err(error) if error.is_in_progress() => waiting.pause_while(&error, None).await?,
            Err(error) => return Err(error),
        }
    }
}

pub(super) async fn delete(arm: &Arm, path: &str, version: &str) -> Result<(), ArmError> {
    let waiting = Waiting::new(arm, Method::DELETE, path, version, Aim::Gone);
    loop {
        let reply = arm.send(&arm.call(Method::DELETE, path, version, &[], None)).await?;
        if matches!(reply.status, 204 | 404) {
            return Ok(());
        }
        match Arm::accepted("DELETE", path, reply) {
            Ok(reply) => return waiting.until_done(&reply).await,
            Err(error) if error.is_in_progress() => waiting.pause_while(&error, None).await?,
            Err(error) => return Err(error),
        }
    }
}

/// A resource when nothing is under way with it any more; `tell` hears what is, at each look.
pub(super) async fn settled(
    arm: &Arm,
    path: &str,
    version: &str,
    tell: &(dyn Fn(&str) + Sync),
) -> Result<Option<Value>, ArmError> {
    let waiting = Waiting::new(arm, Method::GET, path, version, Aim::Made);
    loop {
        let Some(body) = arm.get(path, version).await? else { return Ok(None) };
        match body["properties"]["provisioningState"].as_str() {
            None | Some("Succeeded" | "Failed" | "Canceled") => return Ok(Some(body)),
            Some(state) => {
                tell(state);
                waiting.pause(state, None).await?;
            }
        }
    }
}

impl<'a> Waiting<'a> {
    fn new(arm: &'a Arm, method: Method, path: &'a str, version: &'a str, aim: Aim) -> Self {
        Self { arm, method, path, version, aim, since: arm.0.pace.now() }
    }

    async fn until_done(&self, reply: &Reply) -> Result<(), ArmError> {
        let mut look = self.first_look(reply)?;
        let mut pause = retry::asked(&reply.headers);
        if pause.is_some() && !matches!(look, Look::Resource) {
            self.pause("accepted", pause).await?;
        }
        loop {
            let (seen, asked) = match &look {
                Look::Status(url) => self.status(url).await?,
                Look::Location(url) => self.location(url).await?,
                Look::Resource => (self.state().await?, None),
            };
            match seen {
                Seen::Done => return Ok(()),
                Seen::Lost => look = Look::Resource,
                Seen::Still(state) => {
                    pause = asked.or(pause);
                    self.pause(&state, pause).await?;
                }
            }
        }
    }

    fn first_look(&self, reply: &Reply) -> Result<Look, ArmError> {
        Ok(match (reply.header("azure-asyncoperation"), reply.header("location")) {
            (Some(address), _) => Look::Status(self.arm.here(address, self.path)?),
            // A 200 or 201 with a Location names the resource, not an operation.
            (None, Some(address)) if reply.status == 202 => Look::Location(self.arm.here(address, self.path)?),
            _ => Look::Resource,
        })
    }

    async fn status(&self, url: &Url) -> Result<(Seen, Option<Duration>), ArmError> {
        let reply = self.get(url).await?;
        if reply.status == 404 {
            return Ok((Seen::Lost, None));
        }
        let reply = Arm::accepted("GET", url.path(), reply)?;
        let seen = match reply.body["status"].as_str() {
            Some("Succeeded") => Seen::Done,
            Some(status @ ("Failed" | "Canceled")) => return Err(self.failed(&reply, status)),
            Some(other) => Seen::Still(other.to_owned()),
            None => Seen::Lost,
        };
        Ok((seen, retry::asked(&reply.headers)))
    }

    async fn location(&self, url: &Url) -> Result<(Seen, Option<Duration>), ArmError> {
        let reply = self.get(url).await?;
        let seen = match reply.status {
            202 => Seen::Still("in progress".to_owned()),
            404 => Seen::Lost,
            200..300 => Seen::Done,
            _ => {
                let id = reply.header("x-ms-request-id").map(str::to_owned);
                let refusal = Refusal::read(self.method.as_str(), self.path, reply.status, id, &reply.body);
                return Err(ArmError::Operation(Box::new(refusal)));
            }
        };
        Ok((seen, retry::asked(&reply.headers)))
    }

    /// What the resource itself says.
    async fn state(&self) -> Result<Seen, ArmError> {
        let Some(body) = self.arm.get(self.path, self.version).await? else {
            return match self.aim {
                Aim::Gone => Ok(Seen::Done),
                Aim::Made if self.waited() < self.arm.1.unseen => Ok(Seen::Still("not seen".to_owned())),
                Aim::Made => Err(ArmError::Unexpected {
                    path: self.path.to_owned(),
                    what: "404, though its creation was accepted".to_owned(),
                }),
            };
        };
        let state = body["properties"]["provisioningState"].as_str();
        match (state, self.aim) {
            (Some("Succeeded") | None, Aim::Made) => Ok(Seen::Done),
            (Some(state @ ("Failed" | "Canceled")), _) => {
                let reply = Reply { status: 200, headers: reqwest::header::HeaderMap::new(), body: body.clone() };
                Err(self.failed(&reply, state))
            }
            (state, _) => Ok(Seen::Still(state.unwrap_or("there").to_owned())),
        }
    }

    fn failed(&self, reply: &Reply, status: &str) -> ArmError {
        let id = reply.header("x-ms-request-id").map(str::to_owned);
        let mut refusal = Refusal::read(self.method.as_str(), self.path, reply.status, id, &reply.body);
        if !reply.body["error"].is_object() {
            status.clone_into(&mut refusal.code);
            refusal.message = format!("it ended as {status}, and ARM gives no reason");
        }
        ArmError::Operation(Box::new(refusal))
    }

    async fn get(&self, url: &Url) -> Result<Reply, ArmError> {
        self.arm.send(&Call { method: Method::GET, url: url.clone(), body: None, repeatable: true }).await
    }

    /// The resource as it is in the end.
    async fn resource(&self) -> Result<Value, ArmError> {
        loop {
            match self.arm.get(self.path, self.version).await? {
                Some(body) => return Ok(body),
                None => self.pause("not seen", None).await?,
            }
        }
    }

    fn waited(&self) -> Duration {
        self.arm.0.pace.now().saturating_sub(self.since)
    }

    async fn pause_while(&self, busy: &ArmError, asked: Option<Duration>) -> Result<(), ArmError> {
        self.pause(&format!("busy ({})", busy.code().unwrap_or_default()), asked).await
    }

    /// Waits for the next look; fails when the deadline would pass.
    async fn pause(&self, state: &str, asked: Option<Duration>) -> Result<(), ArmError> {
        let waited = self.waited();
        if waited >= self.arm.1.operation {
            return Err(ArmError::Deadline { path: self.path.to_owned(), state: state.to_owned(), waited });
        }
        self.arm.0.pace.sleep(asked.unwrap_or(self.arm.1.poll)).await;
        Ok(())
    }
}
