"""What is run: registering with the control server, and turning a git repository into a deployed release.

Who calls what:

Registering (`registration`, `local`, `answer`)
    `Registrar(server, bootstrap, *, listener, version, hostname, rng, sleep)` asks the control server;
    `LocalRegistrar(config, *, listener, environ)` reads a queues file instead. Both have
    `async register(queue) -> Registration` (with patience) and `async once(queue) -> Registration` (one attempt).
    They raise `RegistrationError`, the local one `ConfigError`. A `Registration` has `redis`, `queue`, `sub_queues`,
    `deployment`, `vaults`, `git_token`, and `parent`, `weights` (full queue name -> priority), `secrets`.

Deploying (`deployer`, `releases`)
    `Deployer(config, parent, *, listener, environ, clock)`:
    `async deploy(registration, *, force=False) -> ReleaseDir` makes a release or finds it made;
    `async deploy_or_fall_back(registration) -> ReleaseDir` hands out the last good one when that fails;
    `launch(release, registration) -> Launch` says how to start it;
    `confirm(release) -> ReleaseDir` once it proved itself ready; `last_good() -> ReleaseDir | None`;
    `rollback() -> ReleaseDir`; `releases()`, `current()`; `async prune()`; `close()`;
    `activity.last`, monotonic seconds of the last sign of life of a deploy.
    All raise `DeploymentError`, whose `retryable` tells whether time alone may heal it. A `ReleaseDir` has `name`,
    `path`, `checkout`, `code`, `environment` and `record`.

Queue definitions (`queues_file`)
    `read_queues_file(path, environ) -> QueuesFile`, also for the control server of `development`.

On the disk, below `deployment.dir`: `git/` (a bare mirror per address), `environments/` (one per distinct need),
`releases/<parent>/` (one per commit and options, and the pointer `current`), `cache/` (downloads). Several workers may
share it: locks are `flock`s, which the kernel drops with their holder.
"""
