//! Where customers and messages are kept: Redis, which is the queue and, in this demo, the store as well.
//!
//! ```text
//! <queue>                      list: messages that nobody has claimed (LPUSH in, taken from the right)
//! <queue>:processing:<worker>  list: what a worker has claimed and not yet stored
//! <queue>:workers              set: workers that may hold claims
//! <queue>:alive:<worker>       key with a TTL: the worker's heartbeat
//! <queue>:dead                 list: messages given up after all retries
//! <queue>:pending              hash: ids that were accepted and not yet stored
//! customers                    hash: id -> JSON
//! ```

use redis::{AsyncCommands as _, RedisResult, aio::ConnectionManager};
use serde::{Deserialize, Serialize};

/// The hash of customers.
pub(crate) const CUSTOMERS: &str = "customers";

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
}

/// One message of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) op: Operation,
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) customer: Option<Customer>,
    #[serde(default)]
    pub(crate) attempts: u32,
}

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Customer {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) email: String,
}

/// How a customer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Stored(String),
    Pending,
    Unknown,
}

/// Names of a queue's keys.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) queue: String,
    pub(crate) workers: String,
    pub(crate) dead: String,
    pub(crate) pending: String,
}

impl Keys {
    pub(crate) fn new(queue: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            workers: format!("{queue}:workers"),
            dead: format!("{queue}:dead"),
            pending: format!("{queue}:pending"),
        }
    }

    pub(crate) fn processing(&self, worker: &str) -> String {
        format!("{}:processing:{worker}", self.queue)
    }

    pub(crate) fn alive(&self, worker: &str) -> String {
        format!("{}:alive:{worker}", self.queue)
    }
}

/// Depths of the queue's lists.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Depths {
    /// Not claimed.
    pub(crate) queue_depth: u64,
    /// Claimed and not yet stored.
    pub(crate) processing: u64,
    /// Stored.
    pub(crate) customers: u64,
    /// Given up.
    pub(crate) dead_letters: u64,
}

/// Redis as the web role uses it. Cheap to clone: one multiplexed connection that reconnects by itself.
#[derive(Clone)]
pub(crate) struct Store {
    connection: ConnectionManager,
    keys: Keys,
}

impl Store {
    pub(crate) fn new(connection: ConnectionManager, keys: Keys) -> Self {
        Self { connection, keys }
    }

    /// Whether Redis answers.
    pub(crate) async fn ping(&self) -> RedisResult<()> {
        self.connection.clone().ping().await
    }

    /// Accepts a message for the workers.
    pub(crate) async fn enqueue(&self, message: &Message) -> RedisResult<()> {
        let text = serde_json::to_string(message).map_err(io_error)?;
        let mut pipe = redis::pipe();
        pipe.atomic().hset(&self.keys.pending, &message.id, 1).ignore().lpush(&self.keys.queue, text).ignore();
        pipe.query_async(&mut self.connection.clone()).await
    }

    /// Stores at once.
    pub(crate) async fn store(&self, message: &Message) -> RedisResult<()> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        add_store_commands(&mut pipe, message)?;
        let _: redis::Value = pipe.query_async(&mut self.connection.clone()).await?;
        Ok(())
    }

    pub(crate) async fn standing(&self, id: &str) -> RedisResult<Standing> {
        let mut pipe = redis::pipe();
        pipe.hget(CUSTOMERS, id).hexists(&self.keys.pending, id);
        let (stored, pending): (Option<String>, bool) = pipe.query_async(&mut self.connection.clone()).await?;
        Ok(match stored {
            Some(customer) => Standing::Stored(customer),
            None if pending => Standing::Pending,
            None => Standing::Unknown,
        })
    }

    /// A page of customers: id and JSON.
    pub(crate) async fn page(&self) -> RedisResult<Vec<(String, String)>> {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(CUSTOMERS).arg(0).arg("COUNT").arg(100);
        let (_, page): (u64, Vec<(String, String)>) = scan.query_async(&mut self.connection.clone()).await?;
        Ok(page.into_iter().take(100).collect())
    }

    pub(crate) async fn depths(&self) -> RedisResult<Depths> {
        let mut connection = self.connection.clone();
        let workers: Vec<String> = connection.smembers(&self.keys.workers).await?;
        let mut pipe = redis::pipe();
        pipe.llen(&self.keys.queue).hlen(CUSTOMERS).llen(&self.keys.dead);
        for worker in &workers {
            pipe.llen(self.keys.processing(worker));
        }
        let lengths: Vec<u64> = pipe.query_async(&mut connection).await?;
        Ok(Depths {
            queue_depth: lengths[0],
            customers: lengths[1],
            dead_letters: lengths[2],
            processing: lengths[3..].iter().sum(),
        })
    }

    /// Empties the queue and the store. Claims of live workers stay theirs: they may store what they hold.
    pub(crate) async fn reset(&self) -> RedisResult<()> {
        let keys = [&self.keys.queue, &self.keys.dead, &self.keys.pending, CUSTOMERS];
        self.connection.clone().del(keys.as_slice()).await
    }
}

/// The commands that store one message; storing it again changes nothing.
pub(crate) fn add_store_commands(pipe: &mut redis::Pipeline, message: &Message) -> RedisResult<()> {
    let customer = || serde_json::to_string(&message.customer).map_err(io_error);
    match message.op {
        Operation::Create => pipe.hset_nx(CUSTOMERS, &message.id, customer()?),
        Operation::Update => pipe.hset(CUSTOMERS, &message.id, customer()?),
        Operation::Delete => pipe.hdel(CUSTOMERS, &message.id),
    };
    Ok(())
}

fn io_error(error: serde_json::Error) -> redis::RedisError {
    std::io::Error::from(error).into()
}

/// Connects, with patience: the address may not answer yet.
pub(crate) async fn connect(url: &str) -> RedisResult<ConnectionManager> {
    let client = redis::Client::open(url)?;
    let config = redis::aio::ConnectionManagerConfig::new()
        .set_connection_timeout(Some(std::time::Duration::from_secs(2)))
        .set_response_timeout(Some(std::time::Duration::from_secs(5)))
        .set_min_delay(std::time::Duration::from_millis(20))
        .set_max_delay(std::time::Duration::from_millis(500))
        .set_number_of_retries(usize::MAX);
    ConnectionManager::new_with_config(client, config).await
}
