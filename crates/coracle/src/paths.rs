//! Where everything is kept, below one data directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// The directory that holds all state of one engine.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Names the directory; an absolute path, since it goes into mounts and other processes.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self(std::path::absolute(path)?))
    }

    pub fn root(&self) -> &Path {
        &self.0
    }
    /// The way in for kubectl and every other client.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }
    /// The token for `git push` and registry pushes.
    pub fn token(&self) -> PathBuf {
        self.0.join("token")
    }
    pub fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }
    /// The keys that secrets are encrypted with on the disk.
    pub fn encryption(&self) -> PathBuf {
        self.pki().join("encryption.yaml")
    }
    pub fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics")
    }
    pub fn logs_store(&self) -> PathBuf {
        self.0.join("logs-store")
    }
    pub fn git(&self) -> PathBuf {
        self.0.join("git")
    }
    pub fn registry(&self) -> PathBuf {
        self.0.join("registry")
    }
    /// Unpacked images and containers.
    pub fn runtime(&self) -> PathBuf {
        self.0.join("runtime")
    }
    pub fn builds(&self) -> PathBuf {
        self.0.join("builds")
    }
    pub fn pods(&self) -> PathBuf {
        self.0.join("pods")
    }
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
    /// Held locked by the engine for as long as it lives.
    pub fn lock(&self) -> PathBuf {
        self.0.join("engine.lock")
    }
    /// What the running engine says of itself.
    pub fn state(&self) -> PathBuf {
        self.0.join("engine.json")
    }
    /// The ports chosen the first time, so that addresses stay the same.
    pub fn ports(&self) -> PathBuf {
        self.0.join("ports.json")
    }
    pub fn engine_log(&self) -> PathBuf {
        self.logs().join("engine.log")
    }

    /// A short name that no other data directory on this machine has, for cgroups and the like.
    pub fn instance(&self) -> String {
        let digest = Sha256::digest(self.0.as_os_str().as_encoded_bytes());
        format!("coracle-{}", digest[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    /// Makes the directories; only the owner may look inside.
    pub fn create(&self) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        for dir in [
            self.pki(),
            self.store(),
            self.git(),
            self.registry(),
            self.runtime(),
            self.builds(),
            self.pods(),
            self.run(),
            self.logs(),
        ] {
            fs::create_dir_all(dir)?;
        }
        // Containers whose user is not root reach their volumes through this directory, so others may pass, not list.
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o711))?;
        for private in [self.pki(), self.store(), self.git(), self.registry(), self.logs()] {
            fs::set_permissions(private, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }
}
