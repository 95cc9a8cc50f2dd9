//! The secrets of one user: put, used and rotated by that user alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::access::Access;
use crate::access::gate::{Delete, Operation, Proof, Read, Write};
use crate::error::{Error, Reason, Result};
use crate::limits::TEMPLATE_EXPRESSIONS_MAX;
use crate::tenant::credential::{Credential, CredentialInfo};
use crate::tenant::open::Tenant;
use crate::tenant::template::{SecretText, Template};
use crate::tenant::vault::Which;

/// The credentials of the handle's user at its tenant, by name: `[A-Za-z_][A-Za-z0-9_-]{0,63}`.
///
/// Each version of each is sealed by itself, under a key that belongs to this user at this tenant, inside pages that
/// are encrypted as well. Every change and every use has its entry in the tenant's audit trail, which does not tell the
/// name to others. Every method passes the gate first; beside the errors each names, all of them answer as those of
/// [`crate::Memories`] do.
#[derive(Debug, Clone)]
pub struct Credentials {
    access: Arc<Access>,
}

impl Credentials {
    pub(super) fn new(access: Arc<Access>) -> Self {
        Self { access }
    }

    /// An operation on the user's credentials.
    fn run<O: Operation, R>(&self, work: impl FnOnce(&Tenant, &Proof<'_, O>) -> Result<R>) -> Result<R> {
        self.access.run_at(self.access.credentials(), work)
    }

    /// Puts a secret under a name, replacing all that the name had. Needs the scope `write`. Gives its version: 1 for the
    /// first. What has expired of this user is cleared away at the same time.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let reader = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?)?;
    /// let vault = tenant.credentials();
    /// assert_eq!(vault.put("TOKEN", &Credential::new("secret").metadata("service", "github"))?, 1);
    /// assert_eq!(vault.put("NO NAME", &Credential::new("secret")).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// assert_eq!(reader.credentials().put("TOKEN", &Credential::new("s")).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` when name, secret, metadata or expiry break a rule; `Limit` beyond 1,000 names; `NotFound` without
    /// the scope.
    pub fn put(&self, name: &str, credential: &Credential) -> Result<u64> {
        self.run::<Write, _>(|tenant, proof| tenant.put_credential(proof, name, credential))
    }

    /// Puts another secret under a name and keeps the one before it for `overlap`, at most 30 days, or until
    /// [`Credentials::confirm`]. Needs the scope `write`. Metadata and expiry are those of the new one. Gives its version.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let reader = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?)?;
    /// let vault = tenant.credentials();
    /// # use std::time::Duration;
    /// vault.put("TOKEN", &Credential::new("old"))?;
    /// assert_eq!(vault.rotate("TOKEN", &Credential::new("new"), Duration::from_secs(3_600))?, 2);
    /// assert_eq!(vault.with_secret("TOKEN", <[u8]>::to_vec)?, b"new");
    /// assert_eq!(vault.with_previous("TOKEN", <[u8]>::to_vec)?, b"old");
    /// let absent = vault.rotate("OTHER", &Credential::new("new"), Duration::from_secs(3_600));
    /// assert_eq!(absent.unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none of this name, or without the scope; `InvalidInput` as for [`Credentials::put`], and
    /// when `overlap` is zero or too long.
    pub fn rotate(&self, name: &str, credential: &Credential, overlap: Duration) -> Result<u64> {
        self.run::<Write, _>(|tenant, proof| tenant.rotate_credential(proof, name, credential, overlap))
    }

    /// Forgets the secret before the current one: the new one is in use everywhere. Needs the scope `write`. Gives
    /// whether there was one.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let reader = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?)?;
    /// let vault = tenant.credentials();
    /// # use std::time::Duration;
    /// vault.put("TOKEN", &Credential::new("old"))?;
    /// vault.rotate("TOKEN", &Credential::new("new"), Duration::from_secs(3_600))?;
    /// assert!(vault.confirm("TOKEN")? && !vault.confirm("TOKEN")?);
    /// assert_eq!(vault.with_previous("TOKEN", |_| ()).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none of this name, or without the scope.
    pub fn confirm(&self, name: &str) -> Result<bool> {
        self.run::<Write, _>(|tenant, proof| tenant.confirm_credential(proof, name))
    }

    /// Deletes a credential with all its secrets. Needs the scope `delete`. What it was may linger in unused pages of
    /// the tenant's file, encrypted, until they are written again.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let reader = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?)?;
    /// let vault = tenant.credentials();
    /// vault.put("TOKEN", &Credential::new("secret"))?;
    /// vault.delete("TOKEN")?;
    /// assert_eq!(vault.delete("TOKEN").unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none of this name, or without the scope.
    pub fn delete(&self, name: &str) -> Result<()> {
        self.run::<Delete, _>(|tenant, proof| tenant.delete_credential(proof, name))
    }

    /// What is known of the credentials, in byte order of their names, without any secret. Needs the scope `read`.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let reader = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?)?;
    /// let vault = tenant.credentials();
    /// vault.put("TOKEN", &Credential::new("secret").metadata("service", "github"))?;
    /// let known = vault.list()?;
    /// assert_eq!((known[0].name.as_str(), known[0].version, known[0].uses), ("TOKEN", 1, 0));
    /// assert!(!format!("{known:?}").contains("secret"));
    ///
    /// let nobody = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?)?)?;
    /// assert_eq!(nobody.credentials().list().unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` without the scope.
    pub fn list(&self) -> Result<Vec<CredentialInfo>> {
        self.run::<Read, _>(|tenant, proof| tenant.credentials(proof))
    }

    /// Lends the secret of a name to `work`. Needs the scope `read`. The use is counted, durably, before the secret is
    /// lent; the bytes are wiped when `work` ends, also by a panic.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let reader = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?)?;
    /// let vault = tenant.credentials();
    /// vault.put("TOKEN", &Credential::new("secret"))?;
    /// assert_eq!(vault.with_secret("TOKEN", |secret| secret.len())?, 6);
    /// assert_eq!(vault.list()?[0].uses, 1);
    /// assert_eq!(vault.with_secret("OTHER", |_| ()).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` when there is none of this name, or without the scope; `Damaged` when its envelope is not the one that
    /// was written for it.
    pub fn with_secret<R>(&self, name: &str, work: impl FnOnce(&[u8]) -> R) -> Result<R> {
        Ok(work(&self.secret(name, Which::Current)?))
    }

    /// As [`Credentials::with_secret`], for the secret before the current one, while it is kept.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let reader = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?)?;
    /// let vault = tenant.credentials();
    /// vault.put("TOKEN", &Credential::new("secret"))?;
    /// assert_eq!(vault.with_previous("TOKEN", |_| ()).unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Credentials::with_secret`]; `NotFound` also when none is kept.
    pub fn with_previous<R>(&self, name: &str, work: impl FnOnce(&[u8]) -> R) -> Result<R> {
        Ok(work(&self.secret(name, Which::Previous)?))
    }

    fn secret(&self, name: &str, which: Which) -> Result<Zeroizing<Vec<u8>>> {
        let secrets = self.run::<Read, _>(|tenant, proof| tenant.use_credentials(proof, &[name], which))?;
        // One name gives one secret.
        secrets.into_iter().next().ok_or_else(|| Reason::DamagedRecord("credential").into())
    }

    /// A text with each `${{ user.credentials.NAME }}` in it replaced by that secret. Needs the scope `read`. Each use is
    /// counted. What a secret contains is never expanded again.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let reader = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?)?;
    /// let vault = tenant.credentials();
    /// vault.put("TOKEN", &Credential::new("secret"))?;
    /// let header = vault.resolve("Bearer ${{ user.credentials.TOKEN }}")?;
    /// assert_eq!(header.expose(), "Bearer secret");
    /// assert_eq!(vault.resolve("${{ bob.credentials.TOKEN }}").unwrap_err().kind(), ErrorKind::InvalidInput);
    /// assert_eq!(vault.resolve("${{ user.credentials.OTHER }}").unwrap_err().kind(), ErrorKind::NotFound);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for an expression that is anything else, not closed or inside another, a secret that is not UTF-8,
    /// more than 256 expressions, or more than 1 MiB before or after; `NotFound` for a name that is not there, or without
    /// the scope.
    pub fn resolve(&self, template: &str) -> Result<SecretText> {
        let filled = self.fill(vec![Template::parse(template)?])?.into_iter().next();
        filled.ok_or_else(|| Reason::DamagedRecord("credential").into())
    }

    /// As [`Credentials::resolve`], for the values of environment variables, all of one state of the credentials.
    ///
    /// ```
    /// # use watertight::*;
    /// # let (engine, authority) = Engine::in_memory()?;
    /// # let operator = engine.operator(&authority.attest_operator("ops")?)?;
    /// # operator.provision(TenantSpec::new("acme")?.trusts(Issuer::authority()))?;
    /// # let tenant = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::ALL))?)?;
    /// # let reader = engine.tenant(&authority.attest(Attestation::new("acme", "alice")?.scopes(Scopes::READ))?)?;
    /// let vault = tenant.credentials();
    /// # use std::collections::BTreeMap;
    /// vault.put("TOKEN", &Credential::new("secret"))?;
    /// let variables = BTreeMap::from([("AUTH", "Bearer ${{ user.credentials.TOKEN }}"), ("LANG", "C")]);
    /// let environment = vault.resolve_env(variables)?;
    /// assert_eq!((environment["AUTH"].expose(), environment["LANG"].expose()), ("Bearer secret", "C"));
    /// assert!(!format!("{environment:?}").contains("secret"));
    /// assert_eq!(vault.resolve_env([("AUTH", "${{")]).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// assert_eq!(vault.resolve_env([("A=B", "C")]).unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Credentials::resolve`]; the 256 expressions are those of all variables. `InvalidInput` also for what no process can be
    /// given: a name that is empty or has `=` or NUL, and a value with NUL, be it a secret's.
    pub fn resolve_env<K: Ord + AsRef<str>, V: AsRef<str>>(
        &self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<BTreeMap<K, SecretText>> {
        let (names, values): (Vec<K>, Vec<V>) = variables.into_iter().unzip();
        names.iter().try_for_each(|name| check_variable(name.as_ref()))?;
        let templates = values.iter().map(|value| Template::parse(value.as_ref())).collect::<Result<Vec<_>>>()?;
        let filled = self.fill(templates)?;
        if filled.iter().any(|value| value.expose().contains('\0')) {
            return Err(Error::invalid("value of an environment variable", "must not have a NUL"));
        }
        Ok(names.into_iter().zip(filled).collect())
    }

    fn fill(&self, templates: Vec<Template<'_>>) -> Result<Vec<SecretText>> {
        let names: Vec<&str> = templates.iter().flat_map(Template::names).collect();
        if names.len() > TEMPLATE_EXPRESSIONS_MAX {
            return Err(Error::too_large("number of expressions", TEMPLATE_EXPRESSIONS_MAX, names.len()));
        }
        // Also without a name in them: whether the handle is good does not depend on what it is asked.
        let secrets = self.run::<Read, _>(|tenant, proof| {
            if names.is_empty() { Ok(Vec::new()) } else { tenant.use_credentials(proof, &names, Which::Current) }
        })?;
        let mut secrets = secrets.into_iter();
        templates.iter().map(|template| template.fill(&mut secrets)).collect()
    }
}

/// What the operating system asks of a variable's name.
fn check_variable(name: &str) -> Result<()> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Error::invalid("name of an environment variable", "must not be empty or have = or NUL"));
    }
    Ok(())
}
