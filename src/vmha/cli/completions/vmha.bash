# bash completion of vmha. Made by: vmha completion bash
_vmha() {
    local line=${COMP_LINE:0:COMP_POINT} kind word words
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    # bash takes words apart at : = and @, which stand in names and options: what it has taken already is left out.
    local last=${words[${#words[@]} - 1]}
    local taken=${last%"${last##*[:=@]}"}
    COMPREPLY=()
    {
        IFS= read -r kind
        while IFS=$'\t' read -r word _; do
            COMPREPLY+=("${word#"$taken"}")
        done
    } < <(_VMHA_COMPLETE=1 "${words[0]}" "${words[@]:1}" 2>/dev/null </dev/null)
    if [[ $kind == files ]]; then
        compopt -o default 2>/dev/null
        COMPREPLY=()
    fi
}
complete -F _vmha vmha
