# The Consul ACL policy of redis-consul-agent, for the default service name `redis`. Create it and a token with
#   consul acl policy create -name redis-consul-agent -rules @policy.hcl
#   consul acl token create -policy-name redis-consul-agent -description "redis-consul-agent on HOST"
# and put the token's SecretID into the file that consul_token_file names.

# Register the instances and their checks at the local Consul agent, and move the tag `master` in the catalog on a
# takeover, also away from an instance of another host. Where master_service or replica_service is set, a block for each.
service "redis" {
  policy = "write"
}

# The claim: who is master, at which epoch (service/redis/master).
key_prefix "service/redis/" {
  policy = "write"
}

# Read back what stands in the catalog, and on which node.
node_prefix "" {
  policy = "read"
}

# Learn the local Consul agent's node name and address.
agent_prefix "" {
  policy = "read"
}
