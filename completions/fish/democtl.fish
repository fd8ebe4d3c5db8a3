# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_democtl_global_optspecs
    string join \n home= output= h/help V/version
end

function __fish_democtl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_democtl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_democtl_using_subcommand
    set -l cmd (__fish_democtl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c democtl -n "__fish_democtl_needs_command" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_needs_command" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_needs_command" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "demo" -d 'The whole tour: each profile set up, tested, watched back to its baseline, compared, cleaned up'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "setup" -d 'Make an environment: the cluster, the platform and the application of a profile'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "run-tests" -d 'Run the load suite against an environment and give a verdict'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "forecast" -d 'The suite, or days of traffic, in virtual time: verdicts before anything runs'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "tune" -d 'The cheapest policy that passes, searched by forecast and proven over other seeds'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "explain" -d 'Why a run went as it did: the rule behind each decision, and what failed tests lacked; warnings about a profile'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "calibrate" -d 'Fit service times, start-up times and CPU to a recorded run, as a profile that extends the one that ran'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "status" -d 'How environments stand'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "watch" -d 'The timeline as it happens: replicas, nodes, and why; Ctrl-C ends it with exit code 0'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "cleanup" -d 'Remove an environment and prove that nothing is left'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "plan" -d 'What setup would make, and what it costs'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "doctor" -d 'Whether this machine is ready: tools, login, home directory, leftovers'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "render" -d 'Write the Kubernetes manifests of a profile'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "profile" -d 'List, show and check profiles'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "kubeconfig" -d 'The path of an environment\'s kubeconfig'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "kube-token" -d 'A token for an AKS cluster with Entra ID, as kubectl\'s credential plugin (the kubeconfig of an environment asks for it)'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "completions" -d 'Shell completions'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "app" -d 'Run a role of the demo app (what the pods run)'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "local-cluster" -d 'Be the local cluster (what setup starts in the background)'
complete -c democtl -n "__fish_democtl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c democtl -n "__fish_democtl_using_subcommand demo" -l set -d 'Override a value of the profile, such as workload.web.scaling.max=6' -r
complete -c democtl -n "__fish_democtl_using_subcommand demo" -l speed -d 'Divide every duration of the suite and of the controllers by this; requests keep their own time' -r
complete -c democtl -n "__fish_democtl_using_subcommand demo" -l seed -d 'Seed of every draw' -r
complete -c democtl -n "__fish_democtl_using_subcommand demo" -l engine -d 'Which load engine' -r -f -a "builtin\t'The one in this binary'
k6\t'The k6 on PATH, with a script rendered from the same suite'"
complete -c democtl -n "__fish_democtl_using_subcommand demo" -l test -d 'Only this test; may be repeated' -r
complete -c democtl -n "__fish_democtl_using_subcommand demo" -l timeout -d 'How long what is delivered may take to become healthy, in real time [default: 2m, and 15m on azure]' -r
complete -c democtl -n "__fish_democtl_using_subcommand demo" -l junit -d 'Write a `JUnit` report' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand demo" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand demo" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand demo" -l keep -d 'Leave the environments up, and the files of their runs'
complete -c democtl -n "__fish_democtl_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand demo" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand setup" -s p -l profile -d 'A built-in profile\'s name or a file\'s path' -r
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l set -d 'Override a value of the profile, such as workload.web.scaling.max=6' -r
complete -c democtl -n "__fish_democtl_using_subcommand setup" -s n -l name -d 'The environment\'s name [default: the profile\'s name]' -r
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l target -d 'Where it runs' -r -f -a "local\t'A cluster embedded in this binary, on this machine'
azure\t'AKS, made by Terraform in a subscription of yours: it costs money'"
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l speed -d 'Divide every duration of the suite and of the controllers by this; requests keep their own time' -r
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l seed -d 'Seed of every draw' -r
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l timeout -d 'How long what is delivered may take to become healthy, in real time [default: 2m, and 15m on azure]' -r
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l subscription -d 'Subscription that pays, with --target azure' -r
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l module -d 'Terraform module of your own that takes the same variables, instead of the built-in one' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l state -d 'Where Terraform\'s state lies: in the environment\'s directory, or in a storage account that is made for it' -r -f -a "local\t'In the environment\'s directory on this machine'
azurerm\t'In a storage account that is made for it'"
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand setup" -s y -l yes -d 'Do not ask (the local target never does)'
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l plan-only -d 'Show what would be made and make nothing, as `plan` does'
complete -c democtl -n "__fish_democtl_using_subcommand setup" -l register -d 'Register the resource providers that the subscription lacks; without it a person is asked'
complete -c democtl -n "__fish_democtl_using_subcommand setup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand setup" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand run-tests" -s n -l name -d 'The environment\'s name; the only one there is when left out' -r
complete -c democtl -n "__fish_democtl_using_subcommand run-tests" -l test -d 'Only this test; may be repeated' -r
complete -c democtl -n "__fish_democtl_using_subcommand run-tests" -l engine -d 'Which load engine' -r -f -a "builtin\t'The one in this binary'
k6\t'The k6 on PATH, with a script rendered from the same suite'"
complete -c democtl -n "__fish_democtl_using_subcommand run-tests" -l junit -d 'Write a `JUnit` report' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand run-tests" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand run-tests" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand run-tests" -l settle -d 'Afterwards watch until pods and nodes are back at the baseline'
complete -c democtl -n "__fish_democtl_using_subcommand run-tests" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand run-tests" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -s p -l profile -d 'The same as PROFILE' -r
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l set -d 'Override a value of the profile, such as workload.web.scaling.max=6' -r
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l against -d 'Put the forecast beside a recorded run, with its seed and speed, and its profile where none is given: a run\'s directory or id; exit 0 whatever differs. May be repeated for runs of one profile' -r
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l test -d 'Only this test; may be repeated' -r
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l seed -d 'Seed of every draw' -r
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l seeds -d 'So many seeds, from --seed on: how probable each verdict is' -r
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l probability -d 'With --seeds: pass when this share of them does' -r
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l speed -d 'Divide every duration of the suite and of the controllers by this; requests keep their own time' -r
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l fault -d 'What goes wrong, in time since the run\'s beginning; may be repeated' -r
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l any-phase -d 'Let the run begin at any moment of the autoscalers\' rounds, not when a fresh environment would'
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l day -d 'A day of the profile\'s traffic instead of the suite'
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -l month -d '30 days of the profile\'s traffic instead of the suite'
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand forecast" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand tune" -s p -l profile -d 'The same as PROFILE' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l set -d 'Override a value of the profile, such as workload.web.scaling.max=6' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l keep -d 'Leave this and what is below it as it is, such as pool.main; may be repeated' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l test -d 'Only this test; may be repeated' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l fault -d 'What goes wrong, in time since the run\'s beginning; may be repeated' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l seeds -d 'So many seeds that each policy must pass' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l probability -d 'A policy passes when this share of the seeds does' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l margin -d 'Leave this share of every threshold\'s limit unused, since a forecast is no run' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l speed -d 'Search at this speed, which is quicker and harder on a policy than 1; it is proven at both' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l time -d 'How long it may take [default: 2m, without limit with --forecasts]' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l forecasts -d 'So many forecasts at most; with this and no --time the same seed finds the same' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l seed -d 'Seed of the search, and the first one of the forecasts' -r
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l out -d 'Write the policy as a profile that extends the given one' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand tune" -l any-phase -d 'Let runs begin at any moment of the autoscalers\' rounds, not when a fresh environment would'
complete -c democtl -n "__fish_democtl_using_subcommand tune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand tune" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand explain" -s p -l profile -d 'The same, and never a run' -r
complete -c democtl -n "__fish_democtl_using_subcommand explain" -s n -l name -d 'The environment\'s name; the only one there is when left out' -r
complete -c democtl -n "__fish_democtl_using_subcommand explain" -l set -d 'Override a value of the profile, such as workload.web.scaling.max=6' -r
complete -c democtl -n "__fish_democtl_using_subcommand explain" -l at -d 'Only this moment, since the run began in the profile\'s time, such as 02:15' -r
complete -c democtl -n "__fish_democtl_using_subcommand explain" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand explain" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand explain" -l forecast -d 'Explain a forecast of the profile, not only its settings'
complete -c democtl -n "__fish_democtl_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand explain" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand calibrate" -s n -l name -d 'The environment\'s name; the only one there is when left out' -r
complete -c democtl -n "__fish_democtl_using_subcommand calibrate" -l out -d 'Write the profile to this file instead of the standard output' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand calibrate" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand calibrate" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand calibrate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand calibrate" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand status" -s n -l name -d 'The environment\'s name; all of them when left out' -r
complete -c democtl -n "__fish_democtl_using_subcommand status" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand status" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand status" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand watch" -s n -l name -d 'The environment\'s name; the only one there is when left out' -r
complete -c democtl -n "__fish_democtl_using_subcommand watch" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand watch" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand watch" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand cleanup" -s n -l name -d 'The environment\'s name; the only one there is when left out' -r
complete -c democtl -n "__fish_democtl_using_subcommand cleanup" -l subscription -d 'Subscription to look through, with --expired [default: those of the environments known here]' -r
complete -c democtl -n "__fish_democtl_using_subcommand cleanup" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand cleanup" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand cleanup" -l all -d 'Every environment'
complete -c democtl -n "__fish_democtl_using_subcommand cleanup" -l expired -d 'Every environment on azure past its `expires-at`, also those that another machine made'
complete -c democtl -n "__fish_democtl_using_subcommand cleanup" -s y -l yes -d 'Do not ask (the local target never does)'
complete -c democtl -n "__fish_democtl_using_subcommand cleanup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand cleanup" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand plan" -s p -l profile -d 'A built-in profile\'s name or a file\'s path' -r
complete -c democtl -n "__fish_democtl_using_subcommand plan" -l set -d 'Override a value of the profile, such as workload.web.scaling.max=6' -r
complete -c democtl -n "__fish_democtl_using_subcommand plan" -l target -d 'Where it would run; azure looks at the subscription and lets Terraform plan' -r -f -a "local\t'A cluster embedded in this binary, on this machine'
azure\t'AKS, made by Terraform in a subscription of yours: it costs money'"
complete -c democtl -n "__fish_democtl_using_subcommand plan" -s n -l name -d 'The environment\'s name [default: the profile\'s name]' -r
complete -c democtl -n "__fish_democtl_using_subcommand plan" -l subscription -d 'Subscription that pays, with --target azure' -r
complete -c democtl -n "__fish_democtl_using_subcommand plan" -l module -d 'Terraform module of your own that takes the same variables, instead of the built-in one' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand plan" -l state -d 'Where Terraform\'s state lies: in the environment\'s directory, or in a storage account that is made for it' -r -f -a "local\t'In the environment\'s directory on this machine'
azurerm\t'In a storage account that is made for it'"
complete -c democtl -n "__fish_democtl_using_subcommand plan" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand plan" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand plan" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand doctor" -l target -d 'The target to be ready for' -r -f -a "local\t'A cluster embedded in this binary, on this machine'
azure\t'AKS, made by Terraform in a subscription of yours: it costs money'"
complete -c democtl -n "__fish_democtl_using_subcommand doctor" -l subscription -d 'Subscription that would pay, with --target azure' -r
complete -c democtl -n "__fish_democtl_using_subcommand doctor" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand doctor" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand doctor" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand render" -s p -l profile -d 'A built-in profile\'s name or a file\'s path' -r
complete -c democtl -n "__fish_democtl_using_subcommand render" -l set -d 'Override a value of the profile, such as workload.web.scaling.max=6' -r
complete -c democtl -n "__fish_democtl_using_subcommand render" -l out -d 'Write one file for each object into this directory; YAML on standard output when left out' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand render" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand render" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand render" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand render" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and not __fish_seen_subcommand_from list show check help" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand profile; and not __fish_seen_subcommand_from list show check help" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand profile; and not __fish_seen_subcommand_from list show check help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and not __fish_seen_subcommand_from list show check help" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and not __fish_seen_subcommand_from list show check help" -f -a "list" -d 'The built-in profiles'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and not __fish_seen_subcommand_from list show check help" -f -a "show" -d 'A profile as TOML, with all that it extends and every override; as JSON with every default too'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and not __fish_seen_subcommand_from list show check help" -f -a "check" -d 'Check a profile: errors and warnings with line, column and hint'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and not __fish_seen_subcommand_from list show check help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from list" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from list" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from show" -l set -d 'Override a value of the profile, such as workload.web.scaling.max=6' -r
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from show" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from show" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from check" -l set -d 'Override a value of the profile, such as workload.web.scaling.max=6' -r
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from check" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from check" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from check" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from help" -f -a "list" -d 'The built-in profiles'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from help" -f -a "show" -d 'A profile as TOML, with all that it extends and every override; as JSON with every default too'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from help" -f -a "check" -d 'Check a profile: errors and warnings with line, column and hint'
complete -c democtl -n "__fish_democtl_using_subcommand profile; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c democtl -n "__fish_democtl_using_subcommand kubeconfig" -s n -l name -d 'The environment\'s name; the only one there is when left out' -r
complete -c democtl -n "__fish_democtl_using_subcommand kubeconfig" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand kubeconfig" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand kubeconfig" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand kubeconfig" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand kube-token" -l server-id -d 'Application that the cluster\'s API is' -r
complete -c democtl -n "__fish_democtl_using_subcommand kube-token" -l tenant-id -d 'Tenant to log in to, where the environment names none' -r
complete -c democtl -n "__fish_democtl_using_subcommand kube-token" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand kube-token" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand kube-token" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand kube-token" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand completions" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand completions" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand completions" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand app" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand app" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand app" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand app" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand local-cluster" -l dir -d 'The cluster\'s directory; its cluster.json tells the rest' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand local-cluster" -l home -d 'Where environments are kept [default: `$XDG_STATE_HOME/democtl` or ~/.local/state/democtl]' -r -F
complete -c democtl -n "__fish_democtl_using_subcommand local-cluster" -l output -d 'How results are written to standard output' -r -f -a "human\t'For people'
json\t'One JSON document'"
complete -c democtl -n "__fish_democtl_using_subcommand local-cluster" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c democtl -n "__fish_democtl_using_subcommand local-cluster" -s V -l version -d 'Print version'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "demo" -d 'The whole tour: each profile set up, tested, watched back to its baseline, compared, cleaned up'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "setup" -d 'Make an environment: the cluster, the platform and the application of a profile'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "run-tests" -d 'Run the load suite against an environment and give a verdict'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "forecast" -d 'The suite, or days of traffic, in virtual time: verdicts before anything runs'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "tune" -d 'The cheapest policy that passes, searched by forecast and proven over other seeds'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "explain" -d 'Why a run went as it did: the rule behind each decision, and what failed tests lacked; warnings about a profile'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "calibrate" -d 'Fit service times, start-up times and CPU to a recorded run, as a profile that extends the one that ran'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "status" -d 'How environments stand'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "watch" -d 'The timeline as it happens: replicas, nodes, and why; Ctrl-C ends it with exit code 0'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "cleanup" -d 'Remove an environment and prove that nothing is left'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "plan" -d 'What setup would make, and what it costs'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "doctor" -d 'Whether this machine is ready: tools, login, home directory, leftovers'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "render" -d 'Write the Kubernetes manifests of a profile'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "profile" -d 'List, show and check profiles'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "kubeconfig" -d 'The path of an environment\'s kubeconfig'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "kube-token" -d 'A token for an AKS cluster with Entra ID, as kubectl\'s credential plugin (the kubeconfig of an environment asks for it)'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "completions" -d 'Shell completions'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "app" -d 'Run a role of the demo app (what the pods run)'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "local-cluster" -d 'Be the local cluster (what setup starts in the background)'
complete -c democtl -n "__fish_democtl_using_subcommand help; and not __fish_seen_subcommand_from demo setup run-tests forecast tune explain calibrate status watch cleanup plan doctor render profile kubeconfig kube-token completions app local-cluster help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c democtl -n "__fish_democtl_using_subcommand help; and __fish_seen_subcommand_from profile" -f -a "list" -d 'The built-in profiles'
complete -c democtl -n "__fish_democtl_using_subcommand help; and __fish_seen_subcommand_from profile" -f -a "show" -d 'A profile as TOML, with all that it extends and every override; as JSON with every default too'
complete -c democtl -n "__fish_democtl_using_subcommand help; and __fish_seen_subcommand_from profile" -f -a "check" -d 'Check a profile: errors and warnings with line, column and hint'
