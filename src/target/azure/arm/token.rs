//! Tokens: where they come from is injected; kept until shortly before they expire; never shown.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::Engine as _;
use futures::future::BoxFuture;
use tokio::sync::Mutex;

use super::ArmError;

/// A token is renewed this long before its end.
const MARGIN: Duration = Duration::from_secs(300);

/// A bearer token; its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    secret: String,
    /// When it expires; none: not known.
    pub expires: Option<SystemTime>,
}

impl Token {
    /// A token with its end.
    pub fn new(secret: impl Into<String>, expires: Option<SystemTime>) -> Self {
        Self { secret: secret.into(), expires }
    }

    /// The text that goes into the header.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// An object of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its object id.
    pub id: String,
    /// `User` or `ServicePrincipal`.
    pub kind: &'static str,
}

impl Caller {
    /// Whose a token is: <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>. The claims are
    /// read and not checked; ARM does that.
    pub(super) fn of(token: &str) -> Option<Self> {
        let claims = token.split('.').nth(1)?;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
        let claims: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let kind = if claims["idtyp"] == "app" { "ServicePrincipal" } else { "User" };
        Some(Self { id: claims["oid"].as_str()?.to_owned(), kind })
    }
}

/// Whatever logs in.
pub trait TokenSource: fmt::Debug + Send + Sync {
    /// Asks for a token; this may take a while.
    fn fetch(&self) -> BoxFuture<'_, Result<Token, ArmError>>;
}

/// A token that was given and cannot be renewed.
#[derive(Debug)]
pub struct Given(pub Token);

impl TokenSource for Given {
    fn fetch(&self) -> BoxFuture<'_, Result<Token, ArmError>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// Keeps a source's token until it is about to expire; concurrent callers wait for one fetch.
#[derive(Debug)]
pub(super) struct Cached {
    source: Box<dyn TokenSource>,
    kept: Mutex<Option<Token>>,
}

impl Cached {
    pub(super) fn new(source: Box<dyn TokenSource>) -> Self {
        Self { source, kept: Mutex::new(None) }
    }

    /// The token; `refused`: one that ARM did not take, which is not given again unless there is no other.
    pub(super) async fn token(&self, refused: Option<&Token>) -> Result<Token, ArmError> {
        let mut kept = self.kept.lock().await;
        if let Some(token) = &*kept
            && refused != Some(token)
            && token.expires.is_none_or(|end| end > SystemTime::now() + MARGIN)
        {
            return Ok(token.clone());
        }
        let token = self.source.fetch().await?;
        *kept = Some(token.clone());
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Counting(AtomicU32, Option<Duration>);

    impl TokenSource for Counting {
        fn fetch(&self) -> BoxFuture<'_, Result<Token, ArmError>> {
            let number = self.0.fetch_add(1, Ordering::SeqCst);
            let expires = self.1.map(|lasts| SystemTime::now() + lasts);
            Box::pin(std::future::ready(Ok(Token::new(format!("token-{number}"), expires))))
        }
    }

    #[tokio::test]
    async fn a_token_is_fetched_again_only_near_its_end_or_when_refused() {
        let long = Cached::new(Box::new(Counting(AtomicU32::new(0), Some(Duration::from_secs(3600)))));
        let first = long.token(None).await.expect("there is one");
        assert_eq!(long.token(None).await.expect("there is one"), first);
        assert_ne!(long.token(Some(&first)).await.expect("there is one"), first);
        let short = Cached::new(Box::new(Counting(AtomicU32::new(0), Some(MARGIN / 2))));
        assert_ne!(short.token(None).await.expect("one"), short.token(None).await.expect("two"));
    }

    #[test]
    fn a_token_may_tell_whose_it_is() {
        let token = |claims: &str| format!("x.{}.y", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims));
        let caller = |id: &str, kind| Some(Caller { id: id.to_owned(), kind });
        assert_eq!(Caller::of(&token(r#"{"oid":"o","idtyp":"app"}"#)), caller("o", "ServicePrincipal"));
        assert_eq!(Caller::of(&token(r#"{"oid":"o"}"#)), caller("o", "User"));
        for none in ["opaque", "a.b.c", &token("{}")] {
            assert_eq!(Caller::of(none), None, "{none}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        assert!(!format!("{:?}", Given(Token::new("s3cret", None))).contains("s3cret"));
    }
}
