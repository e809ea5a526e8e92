# For Consul 1.9 or newer, which the tests do not run: the services of redis-consul-agent get a link to their dashboard
# (packaging/grafana) in Consul's UI.
# Put it, with Grafana's own address, beside the configuration of the Consul agents that serve the UI.
ui_config {
  enabled = true
  dashboard_url_templates {
    service = "https://grafana.example.com/d/redis-consul-agent?var-service={{Service.Name}}"
  }
}
