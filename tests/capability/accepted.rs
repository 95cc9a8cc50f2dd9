//! The twins of the refused programs: each goes the right way. They are compiled with the test.

#![allow(dead_code, unused_imports)]

mod admission_module {
    use watertight::*;

    fn ask(handle: &TenantHandle) -> Result<()> {
        handle.check(Scopes::READ)
    }
}

mod api_key_clone {
    use watertight::*;

    fn copy(key: &NewApiKey) -> ApiKeyInfo {
        key.info.clone()
    }
}

mod api_key_literal {
    use watertight::*;

    fn make(keys: &ApiKeys, spec: &ApiKeySpec) -> Result<NewApiKey> {
        keys.create(spec)
    }
}

mod api_keys_by_operator {
    use watertight::*;

    fn make(handle: &TenantHandle) -> ApiKeys {
        handle.api_keys()
    }
}

mod api_keys_constructor {
    use watertight::*;

    fn reach(handle: &TenantHandle, id: ApiKeyId) -> Result<()> {
        handle.api_keys().revoke(id)
    }
}

mod attenuation_literal {
    use watertight::*;

    fn make() -> Attenuation {
        Attenuation::new()
    }
}

mod attenuation_taken_back {
    use watertight::*;

    fn narrow(wide: &TenantHandle) -> Result<TenantHandle> {
        wide.attenuate(&Attenuation::new().scopes(Scopes::READ))
    }
}

mod authority_clone {
    use watertight::*;

    fn share(authority: Authority) -> (std::sync::Arc<Authority>, std::sync::Arc<Authority>) {
        let shared = std::sync::Arc::new(authority);
        (shared.clone(), shared)
    }
}

mod authority_constructor {
    use watertight::*;

    fn obtain(builder: EngineBuilder<Ready>) -> Result<(Engine, Authority)> {
        builder.open()
    }
}

mod authority_literal {
    use watertight::*;

    fn obtain(builder: EngineBuilder<Ready>) -> Result<Authority> {
        builder.open().map(|(_, authority)| authority)
    }
}

mod builder_state_literal {
    use watertight::*;

    fn earn(key: RootKey) -> EngineBuilder<Ready> {
        Engine::builder("data").root_key(key)
    }
}

mod catalog_module {
    use watertight::*;

    fn reach(operator: &Operator) -> Result<Vec<TenantInfo>> {
        operator.list(None, 10)
    }
}

mod credential_clone {
    use watertight::*;

    fn share(credential: Credential) -> std::sync::Arc<Credential> {
        std::sync::Arc::new(credential)
    }
}

mod decision_literal {
    use watertight::*;

    fn ask(policy: &Policy, user: &UserId) -> Decision {
        policy.explain(user, &[], Scopes::READ, None)
    }
}

mod detached_identity {
    use watertight::*;

    fn outlive(handle: &TenantHandle) -> Result<TenantHandle> {
        handle.detach(std::time::Duration::from_secs(60))
    }
}

mod door_module {
    use watertight::*;

    fn ask(memories: &Memories) -> Result<()> {
        memories.check(Scopes::READ)
    }
}

mod gate_module {
    use watertight::*;

    fn scopes(handle: &TenantHandle) -> Scopes {
        handle.scopes()
    }
}

mod handle_by_id {
    use watertight::*;

    fn reach(handle: &TenantHandle) -> &TenantId {
        handle.id()
    }
}

mod handle_by_name {
    use watertight::*;

    fn reach(engine: &Engine, identity: &VerifiedIdentity) -> Result<TenantHandle> {
        engine.tenant(identity)
    }
}

mod handle_by_operator {
    use watertight::*;

    fn reach(engine: &Engine, identity: &VerifiedOperator) -> Result<Operator> {
        engine.operator(identity)
    }
}

mod handle_literal {
    use watertight::*;

    fn obtain(engine: &Engine, identity: &VerifiedIdentity) -> Result<TenantHandle> {
        engine.tenant(identity)
    }
}

mod identity_at {
    use watertight::*;

    fn turn(engine: &Engine, identity: &VerifiedIdentity, tenant: &TenantId) -> Result<TenantHandle> {
        engine.tenant_as(identity, tenant)
    }
}

mod identity_constructor {
    use watertight::*;

    fn obtain(engine: &Engine, bearer: &str) -> Result<VerifiedIdentity> {
        engine.verify(bearer)
    }
}

mod identity_default {
    use watertight::*;

    fn none() -> Scopes {
        std::mem::take(&mut None).unwrap_or_else(default)
    }
    fn default<T: Default>() -> T {
        T::default()
    }
}

mod identity_deserialised {
    use watertight::*;

    fn parse(bytes: &str) -> TenantId {
        serde_json::from_str(bytes).unwrap()
    }
}

mod identity_from_claims {
    use watertight::*;

    fn read(claims: TokenClaims) -> TenantId {
        claims.tenant().clone()
    }
}

mod identity_literal {
    use watertight::*;

    fn obtain(authority: &Authority) -> Result<VerifiedIdentity> {
        authority.attest(Attestation::new("acme", "alice")?)
    }
}

mod impersonated_constructor {
    use watertight::*;

    fn act(operator: &Operator, how: &Impersonation) -> Result<VerifiedIdentity> {
        operator.impersonate(how)
    }
}

mod impersonation_by_tenant {
    use watertight::*;

    fn act(operator: &Operator, how: &Impersonation) -> Result<VerifiedIdentity> {
        operator.impersonate(how)
    }
}

mod impersonation_without_reason {
    use watertight::*;

    fn look(tenant: TenantId, user: UserId) -> Impersonation {
        Impersonation::new(tenant, user, "ticket 4711")
    }
}

mod impersonator_of_identity {
    use watertight::*;

    fn name(identity: &VerifiedIdentity) -> Option<&str> {
        identity.operator()
    }
}

mod membership_literal {
    use watertight::*;

    fn join(identity: &VerifiedIdentity) -> &[Membership] {
        identity.memberships()
    }
}

mod memories_constructor {
    use watertight::*;

    fn obtain(handle: &TenantHandle) -> Result<Memories> {
        handle.memories("notes")
    }
}

mod memories_of_another {
    use watertight::*;

    fn keep(mine: &Memories) -> Memories {
        mine.clone()
    }
}

mod open_without_root_key {
    use watertight::*;

    fn open(key: RootKey) -> Result<(Engine, Authority)> {
        Engine::builder("data").root_key(key).open()
    }
}

mod operator_changes_policy {
    use watertight::*;

    fn change(handle: &TenantHandle, policy: &Policy) -> Result<u64> {
        handle.set_policy(policy)
    }
}

mod operator_constructor {
    use watertight::*;

    fn obtain(engine: &Engine, identity: VerifiedOperator) -> Result<Operator> {
        engine.operator(&identity)
    }
}

mod operator_erases_user {
    use watertight::*;

    fn erase(admin: &TenantHandle, user: &UserId) -> Result<Erasure> {
        admin.erase_user(user, Authored::Goes, |_| std::ops::ControlFlow::Continue(()))
    }
}

mod operator_from_tenant_identity {
    use watertight::*;

    fn enter(engine: &Engine, identity: VerifiedIdentity) -> Result<TenantHandle> {
        engine.tenant(&identity)
    }
}

mod operator_identity_literal {
    use watertight::*;

    fn obtain(authority: &Authority) -> Result<VerifiedOperator> {
        authority.attest_operator("ops")
    }
}

mod operator_reads_content {
    use watertight::*;

    fn manage(operator: &Operator, tenant: &TenantId) -> Result<TenantInfo> {
        operator.inspect(tenant)
    }
}

mod plaintext_without_danger {
    use watertight::*;

    fn plain(key: RootKey) {
        let _ = Engine::builder("data").root_key(key).danger().plaintext_files();
    }
}

mod policy_literal {
    use watertight::*;

    fn make(role: Role) -> Result<Policy> {
        Policy::new().role(role)
    }
}

mod receipt_literal {
    use watertight::*;

    fn read(operator: &Operator, text: String) -> Result<ReceiptFacts> {
        operator.verify_receipt(&Receipt::from_text(text))
    }
}

mod revoke_by_id {
    use watertight::*;

    fn revoke(handle: &TenantHandle) -> Result<()> {
        handle.revoke(&Revocation::everyone())
    }
}

mod role_literal {
    use watertight::*;

    fn make() -> Result<Role> {
        Role::new("editor")
    }
}

mod root_key_clone {
    use watertight::*;

    fn hand_over(key: RootKey) -> EngineBuilder<Ready> {
        Engine::builder("data").root_key(key)
    }
}

mod root_key_serialize {
    use watertight::*;

    fn name(key: &RootKey) -> String {
        format!("{key:?}")
    }
}

mod secret_text_display {
    use watertight::*;

    fn expose(text: &SecretText) -> &str {
        text.expose()
    }
}

mod secret_text_serialize {
    use watertight::*;

    fn expose(text: &SecretText) -> serde_json::Result<String> {
        serde_json::to_string(text.expose())
    }
}

mod tenant_as_by_operator {
    use watertight::*;

    fn manage(operator: &Operator, tenant: &TenantId) -> Result<()> {
        operator.revoke(tenant, &Revocation::everyone())
    }
}

mod tenant_module {
    use watertight::*;

    fn reach(handle: &TenantHandle) -> Result<Usage> {
        handle.usage()
    }
}

mod tenant_rekeys {
    use watertight::*;

    fn rekey(operator: &Operator, tenant: &TenantId) -> Result<Receipt> {
        operator.rekey(tenant, |_| std::ops::ControlFlow::Continue(()))
    }
}

mod whoami_literal {
    use watertight::*;

    fn ask(handle: &TenantHandle) -> Result<WhoAmI> {
        handle.whoami()
    }
}
