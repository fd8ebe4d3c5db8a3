//! The cluster's own CA, server and client certificates, token, and the kubeconfig that carries them. Files are 0600.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use super::http::User;

/// Certificates cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("making a certificate")]
    Make(#[from] rcgen::Error),
    /// A certificate cannot be used.
    #[error("using the certificates: {0}")]
    Use(String),
}

/// Who the cluster is, and who may use it.
#[derive(Debug)]
pub struct Identity {
    ca_pem: String,
    admin_der: CertificateDer<'static>,
    admin_pem: String,
    admin_key_pem: String,
    token: String,
    server: Arc<ServerConfig>,
}

/// The one user there is.
const ADMIN: &str = "kubernetes-admin";

impl Identity {
    /// The identity kept in `dir`, made when it is not there yet.
    pub fn open(dir: &Path) -> Result<Self, IdentityError> {
        fs::create_dir_all(dir).map_err(|source| file_error(dir, source))?;
        if !dir.join("token").exists() {
            make(dir)?;
        }
        let text = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|source| file_error(&path, source))
        };
        let (ca_pem, admin_pem) = (text("ca.crt")?, text("admin.crt")?);
        let der = |pem: &str| {
            CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| IdentityError::Use(error.to_string()))
        };
        let server = server_config(der(&ca_pem)?, der(&text("server.crt")?)?, &text("server.key")?)?;
        Ok(Self {
            admin_der: der(&admin_pem)?,
            admin_key_pem: text("admin.key")?,
            token: text("token")?,
            server: Arc::new(server),
            ca_pem,
            admin_pem,
        })
    }

    /// PEM of the CA.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    pub(crate) fn user_of_certificate(&self, certificate: &CertificateDer<'_>) -> Option<User> {
        (certificate.as_ref() == self.admin_der.as_ref()).then(admin)
    }

    pub(crate) fn user_of_token(&self, token: &str) -> Option<User> {
        (token == self.token).then(admin)
    }

    /// A kubeconfig for the API at `address`.
    pub fn kubeconfig(&self, name: &str, address: SocketAddr) -> String {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {name}\nclusters:\n- name: {name}\n  cluster:\n    \
             server: https://{address}\n    certificate-authority-data: {}\nusers:\n- name: {name}-admin\n  user:\n    \
             client-certificate-data: {}\n    client-key-data: {}\ncontexts:\n- name: {name}\n  context:\n    \
             cluster: {name}\n    user: {name}-admin\n",
            encode(&self.ca_pem),
            encode(&self.admin_pem),
            encode(&self.admin_key_pem),
        )
    }
}

fn admin() -> User {
    User { name: ADMIN.to_owned(), groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()] }
}

fn file_error(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::File { path: path.display().to_string(), source }
}

/// Writes a file that only its owner may read, whole or not at all.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(part, path)
}

fn named(common_name: &str, organisation: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    if let Some(organisation) = organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name
}

fn make(dir: &Path) -> Result<(), IdentityError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = named("democtl-local-ca", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let ca_key = KeyPair::generate()?;
    let ca = params.self_signed(&ca_key)?;
    let issuer = Issuer::new(params, ca_key);
    let names = ["localhost", "127.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let mut server = CertificateParams::new(names.map(ToOwned::to_owned))?;
    server.distinguished_name = named("kube-apiserver", None);
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut client = CertificateParams::new(Vec::<String>::new())?;
    client.distinguished_name = named(ADMIN, Some("system:masters"));
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        write_private(&path, text).map_err(|source| file_error(&path, source))
    };
    write("ca.crt", &ca.pem())?;
    for (name, params) in [("server", server), ("admin", client)] {
        let key = KeyPair::generate()?;
        write(&format!("{name}.crt"), &params.signed_by(&key, &issuer)?.pem())?;
        write(&format!("{name}.key"), &key.serialize_pem())?;
    }
    // Written last: its presence says that all the others are there.
    let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    write("token", &token)
}

fn server_config(
    ca: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key_pem: &str,
) -> Result<ServerConfig, IdentityError> {
    let used = |error: &dyn std::fmt::Display| IdentityError::Use(error.to_string());
    let mut roots = RootCertStore::empty();
    roots.add(ca).map_err(|error| used(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| used(&error))?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|error| used(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| used(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .map_err(|error| used(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_read_again() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().expect("a directory");
        let first = Identity::open(dir.path()).expect("it is made");
        let second = Identity::open(dir.path()).expect("it is read");
        assert_eq!((&first.ca_pem, &first.token), (&second.ca_pem, &second.token));
        assert_eq!(second.user_of_certificate(&first.admin_der).map(|user| user.is_admin()), Some(true));
        assert_eq!(second.user_of_token("wrong"), None);
        for file in fs::read_dir(dir.path()).expect("it is there") {
            let mode = file.expect("a file").metadata().expect("its metadata").permissions().mode();
            assert_eq!(mode & 0o077, 0, "only the owner may read");
        }
    }
}
