# fish completion of vmha. Made by: vmha completion fish
function __vmha_complete
    set -l words (commandline -opc)
    set -l program $words[1]
    set -e words[1]
    set -l last (commandline -ct)
    set -lx _VMHA_COMPLETE 1
    set -l found ($program $words "$last" 2>/dev/null </dev/null)
    if test "$found[1]" = files
        __fish_complete_path "$last"
    else
        printf '%s\n' $found[2..-1]
    end
end
complete -c vmha -f -a '(__vmha_complete)'
